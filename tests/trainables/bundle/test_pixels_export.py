import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from torch import nn

from search_spaces.errors import ExportRefused, InvalidInput
from trainables.bundle import pixels_export
from trainables.bundle.export import ExportBundle, export_bundle
from trainables.bundle.pixels_export import export_pixels
from trainables.bundle.predict import Predictor
from trainables.data.decode import decode

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def bundle(small: Small, photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> ExportBundle:
    made = small[1]
    folder = tmp_path_factory.mktemp("pixels")
    calibrate = {"temperature": 1.7}
    return export_bundle(
        small[0], made.labels, made.preprocessing, {}, "f", photos, folder, calibrate=lambda _: calibrate
    )


def test_pixels_of_any_size_give_the_probabilities_of_the_model(
    small: Small, bundle: ExportBundle, photos: Photos
) -> None:
    report = export_pixels(small[0], bundle, photos)
    assert (report.images, report.same_label) == (len(photos), len(photos))
    file = bundle.model.with_name("model.pixels.onnx")
    session = onnxruntime.InferenceSession(str(file))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape[2]) == ("image", "tensor(uint8)", 3)
    assert given.name == "probabilities"
    plain = Predictor.open(bundle.model)
    for name, data in photos:
        pixels = np.asarray(decode(data, name))
        (found,) = session.run(None, {"image": pixels})
        assert plain.labels[int(found.argmax())] == plain.predict(pixels).label
        assert found.max() == pytest.approx(plain.predict(pixels).probability, abs=0.02)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["thaw.labels"]) == list(plain.labels)
    assert json.loads(metadata["thaw.pixels"]) == report.to_json()
    with pytest.raises(InvalidInput, match="its own preprocessing"):
        Predictor.open(file)
    assert [*bundle.model.parent.glob(".export*")] == []


def test_other_pixels_are_refused_and_nothing_is_written(
    small: Small, bundle: ExportBundle, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    file: Path = bundle.model.with_name("model.pixels.onnx")
    file.unlink(missing_ok=True)
    monkeypatch.setattr(pixels_export.PixelsModel, "resized", lambda self, image: self.color + image[0, 0, 0])
    with pytest.raises(ExportRefused, match=r"every probability within 0\.02"):
        export_pixels(small[0], bundle, photos)
    assert not file.exists()
