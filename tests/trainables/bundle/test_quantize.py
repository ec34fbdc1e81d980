from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from trainables.bundle.export import ExportBundle
from trainables.bundle.predict import Predictor
from trainables.bundle.quantize import INT8_ATTEMPTS, Int8Settings, quantize

Small = tuple[nn.Module, ExportBundle]


def test_the_settings_differ() -> None:
    assert 4 <= len(INT8_ATTEMPTS) == len({str(settings) for settings in INT8_ATTEMPTS}) <= 6


def test_the_named_layers_stay_in_float_and_nothing_is_printed(
    small: Small, photos: list[tuple[str, bytes]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = small[1].model
    plain = Predictor.open(model)
    batch = plain.preprocess(photos)
    floats = {}
    for settings in (Int8Settings(False, ()), Int8Settings(True, ("first", "last"))):
        out = tmp_path / "int8.onnx"
        quantize(model, batch, settings, out)
        assert out.stat().st_size < 0.5 * model.stat().st_size
        graph = onnx.load(out).graph
        made = {node.output[0]: node.op_type for node in graph.node}
        layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
        in_float = [node for node in layers if made.get(node.input[1]) != "DequantizeLinear"]
        floats[settings] = len(in_float)
        assert Predictor.open(out).logits(batch).shape == (len(photos), len(plain.labels))
        weights = [each for each in graph.initializer if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1]
        largest = max(np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() for tensor in weights)
        assert largest <= (64 if settings.reduce_range else 128)
    assert [*floats.values()] == [0, 2]
    assert capfd.readouterr() == ("", "")
