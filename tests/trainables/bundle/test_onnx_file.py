import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from search_spaces.errors import ExportRefused
from trainables.bundle.onnx_file import write_metadata, write_onnx

SHAPES = ({0: torch.export.Dim("batch")},)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("linear") / "model.onnx"
    return write_onnx(nn.Linear(3, 2).eval(), torch.zeros(2, 3), path, "values", "sums", SHAPES)


def test_the_names_and_the_free_size_are_those_that_were_asked_for(linear: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(linear, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for count in (1, 5):
        (sums,) = session.run(["sums"], {"values": np.ones((count, 3), np.float32)})
        assert sums.shape == (count, 2)
    assert len(linear.graph.value_info) == 0
    assert not any(node.metadata_props for node in linear.graph.node)


def test_a_module_that_cannot_be_exported_is_refused_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Stubborn(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values if values.sum().item() > 0 else -values

    with pytest.raises(ExportRefused, match=r"cannot export this model for inputs of \(2, 3\)"):
        write_onnx(Stubborn().eval(), torch.zeros(2, 3), tmp_path / "model.onnx", "values", "sums", SHAPES)
    assert capfd.readouterr().out == ""
    assert not (tmp_path / "model.onnx").exists()


def test_write_metadata_adds_and_replaces(tmp_path: Path, linear: onnx.ModelProto) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(linear, path)
    write_metadata(path, {"thaw.a": {"x": [1, "ü"]}, "thaw.b": 1})
    write_metadata(path, {"thaw.b": None})
    entries = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert entries == {"thaw.a": {"x": [1, "ü"]}, "thaw.b": None}
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_metadata(path, {"thaw.b": float("nan")})
    assert path.read_bytes() == before
