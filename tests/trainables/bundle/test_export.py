import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from torch import nn
from warmed_weights import write_warmed

from search_spaces.errors import ExportRefused, InvalidInput
from trainables.bundle import export
from trainables.bundle.export import ExportBundle, export_bundle, export_onnx
from trainables.bundle.predict import Predictor
from trainables.config import TrialConfig
from trainables.data.preprocess import Preprocessing
from trainables.loop.checkpoint import load_trained
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]
Export = Callable[[nn.Module, int, Path], int]


def test_the_bundle_holds(small: Small) -> None:
    bundle = small[1]
    assert bundle.parity.holds
    assert bundle.parity.images == bundle.parity.same_label == 11
    assert bundle.opset == 20


def test_files_of_a_bundle(small: Small) -> None:
    bundle = small[1]
    folder = bundle.model.parent
    names = ["config.json", "labels.txt", "model.onnx", "parity.json", "preprocessing.json", "timm"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "labels.txt").read_text("utf-8").splitlines() == list(bundle.labels)
    assert json.loads((folder / "preprocessing.json").read_text("utf-8")) == bundle.preprocessing.to_json()
    assert json.loads((folder / "config.json").read_text("utf-8")) == bundle.config
    assert json.loads((folder / "parity.json").read_text("utf-8"))["same_label"] == 11


def test_onnxruntime_quantizes_the_model(small: Small, photos: Photos, tmp_path: Path) -> None:
    pixels = Predictor.open(small[1].model).preprocess(photos)

    class Reader(CalibrationDataReader):
        batches = iter([{"images": pixels}])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    quantize_static(small[1].model, tmp_path / "int8.onnx", Reader(), per_channel=True)
    quantized = Predictor.open(tmp_path / "int8.onnx")
    assert quantized.logits(pixels).shape == (len(photos), len(small[1].labels))


def test_no_path_of_this_machine_is_exported(small: Small) -> None:
    content = small[1].model.read_bytes()
    assert b"site-packages" not in content
    assert str(Path.cwd()).encode() not in content


class Tiny(nn.Module):
    """Exports in a second: a convolution, BatchNorm, dropout and a classifier of two."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.norm(self.conv(images)).relu().mean(dim=(2, 3))
        out: torch.Tensor = self.head(self.drop(pooled))
        return out


class Stubborn(Tiny):
    """Branches on its data, which no graph can."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images if images.sum() > 0 else -images)


def test_export_is_quiet_and_leaves_the_model_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = Tiny().to(torch.bfloat16).train()
    model.norm.eval()
    assert export_onnx(model, 32, tmp_path / "tiny.onnx") == 20
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)
    assert model.conv.weight.dtype == torch.bfloat16
    graph = onnx.load(tmp_path / "tiny.onnx").graph
    assert [(value.name, value.type.tensor_type.elem_type) for value in (*graph.input, *graph.output)] == [
        ("images", onnx.TensorProto.FLOAT),
        ("logits", onnx.TensorProto.FLOAT),
    ]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_a_trial_from_its_probe_with_frozen_statistics_exports(
    trial_config: Callable[..., TrialConfig], tmp_path: Path
) -> None:
    weights = tmp_path / "warmed.safetensors"
    root = trial_config().data.root
    write_warmed(weights, "test_efficientnet", root, tmp_path / "cache")
    settings = {"head_init": "probe", "norm_stats": "frozen", "decay_to": "start", "lr": 1e-3, "epochs": 2}
    config = trial_config(strategy="full", weights=str(weights), **settings)
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "val.parquet", tmp_path / "cache")
    reports = list(train(config, folders))
    model, state = load_trained(folders.best)
    val = [(str(path), path.read_bytes()) for path in sorted(root.glob("val/*/*"))]
    ours = Preprocessing(config.data.image_size, config.data.resize_mode, state.mean, state.std)
    bundle = export_bundle(model, state.classes, ours, {}, "f", val, tmp_path / "bundle")
    assert bundle.parity.holds
    assert bundle.parity.same_label == len(val) == 18
    told = Predictor.open(bundle.model).predict_bytes(val)
    right = sum(Path(each.path).parent.name == each.label for each in told) / len(val)
    best = max(reports, key=lambda report: report.metrics["val/macro_f1"])
    assert right == pytest.approx(best.metrics["val/accuracy"])


def test_channels_last_exports(tmp_path: Path, small: Small, photos: Photos) -> None:
    model = Tiny().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    bundle = export_bundle(model, ("a", "b"), small[1].preprocessing, {}, "f", photos, tmp_path / "new" / "folder")
    assert bundle.parity.holds
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_models_that_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(
        ExportRefused, match=r"cannot export this model for inputs of \(2, 3, 32, 32\) .*choose another architecture"
    ):
        export_onnx(Stubborn(), 32, path)
    monkeypatch.setattr(export, "MAX_BYTES", 100)
    with pytest.raises(ExportRefused, match=r"must be below 2 GB, got 0\.0 GB; choose a smaller model"):
        export_onnx(Tiny(), 32, path)
    assert list(tmp_path.iterdir()) == []


def test_labels_must_fit_the_classes(tmp_path: Path, small: Small, photos: Photos, ready: Export) -> None:
    with pytest.raises(InvalidInput, match="as many as the model's classes, got 2 labels, 6 classes"):
        export_bundle(small[0], ("a", "b"), small[1].preprocessing, {}, "f", photos, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ready(small: Small, monkeypatch: pytest.MonkeyPatch) -> Export:
    """Exports the small model at once, from its finished bundle."""

    def copy(model: nn.Module, image_size: int, path: Path) -> int:
        exported = onnx.load(small[1].model)
        del exported.metadata_props[:]
        onnx.save(exported, path)
        return small[1].opset

    monkeypatch.setattr(export, "export_onnx", copy)
    return copy


def bundled(small: Small, photos: Photos, folder: Path, **changed: Any) -> ExportBundle:
    bundle = small[1]
    arguments: dict[str, Any] = {"config": bundle.config, "fingerprint": "f", **changed}
    return export_bundle(small[0], bundle.labels, bundle.preprocessing, images=photos, folder=folder, **arguments)


def alter_a_weight(path: Path) -> None:
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weight).copy()
    values *= np.float32(1.5)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def test_a_tampered_export_is_refused_and_the_former_stays(
    tmp_path: Path, small: Small, photos: Photos, ready: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled(small, photos, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def tampered(model: nn.Module, image_size: int, path: Path) -> int:
        opset = ready(model, image_size, path)
        alter_a_weight(path)
        return opset

    monkeypatch.setattr(export, "export_onnx", tampered)
    words = (
        r"of 11 labels different .* first at photo0\.jpg, photo1\.jpg, photo2\.jpg; nothing was written, try another"
    )
    with pytest.raises(ExportRefused, match=words):
        bundled(small, photos, tmp_path, fingerprint="other")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert Predictor.open(str(tmp_path / "model.onnx")).fingerprint == "f"


def test_a_later_export_replaces_the_former(tmp_path: Path, small: Small, photos: Photos, ready: Export) -> None:
    bundled(small, photos, tmp_path)
    again = bundled(small, photos, tmp_path, fingerprint="second", config={"lr": 2})
    predictor = Predictor.open(again.model)
    assert (predictor.fingerprint, predictor.config) == ("second", {"lr": 2})
    assert len(list(tmp_path.iterdir())) == 6


def test_without_images_nothing_is_exported(tmp_path: Path, small: Small, ready: Export) -> None:
    with pytest.raises(InvalidInput, match="measured on the images of the validation split, got none"):
        bundled(small, [], tmp_path)
    assert list(tmp_path.iterdir()) == []
