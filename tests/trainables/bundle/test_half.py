from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from torch import nn

from trainables.bundle.export import ExportBundle
from trainables.bundle.half import store_half
from trainables.bundle.predict import Predictor

Small = tuple[nn.Module, ExportBundle]


def test_the_file_is_half_as_large_and_computes_the_same(
    small: Small, photos: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    model = small[1].model
    store_half(model, tmp_path / "half.onnx")
    assert 0.45 < (tmp_path / "half.onnx").stat().st_size / model.stat().st_size < 0.6
    plain, half = Predictor.open(model), Predictor.open(tmp_path / "half.onnx")
    batch = plain.preprocess(photos)
    expected, found = plain.logits(batch), half.logits(batch)
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert half.labels == plain.labels


@pytest.mark.parametrize("largest", [65504.0, 65520.0, np.inf])
def test_weights_beyond_the_range_stay_as_they_are(tmp_path: Path, largest: float) -> None:
    values = np.ones(512, np.float32)
    values[0] = largest
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [512])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [512])],
        [numpy_helper.from_array(values, "w")],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    store_half(tmp_path / "model.onnx", tmp_path / "half.onnx")
    (tensor,) = onnx.load(tmp_path / "half.onnx").graph.initializer
    kept = numpy_helper.to_array(tensor)
    assert kept.dtype == (np.float16 if largest == 65504 else np.float32)
    assert kept.max() == largest
