import shutil
from pathlib import Path

import pytest
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.benchmark import Target, measure, targets
from trainables.bundle.export import ExportBundle

Small = tuple[nn.Module, ExportBundle]


@pytest.mark.parametrize("runtime", ["onnxruntime", "pytorch"])
def test_each_batch_size_is_timed(runtime: str, small: Small) -> None:
    one, three = measure(small[1].model, Target(runtime, "CPU", 1), (3, 1), 0.05)
    assert (one.batch, three.batch) == (1, 3)
    for found in (one, three):
        assert (found.runtime, found.device, found.threads, found.model) == (runtime, "CPU", 1, str(small[1].model))
        assert 0 < found.p50 <= found.p95 <= found.p99
        assert found.batches >= 5
        assert found.images_per_second == pytest.approx(found.batch / found.p50, rel=0.9)
        assert found.load_seconds > 0
        assert found.memory > found.size > 500_000
    assert three.memory >= one.memory * 0.9


def test_pytorch_is_measured_where_the_folder_for_timm_is(small: Small, tmp_path: Path) -> None:
    model = small[1].model
    found = targets(model, [1, 2])
    assert {(target.runtime, target.threads) for target in found if target.device == "CPU"} == {
        ("onnxruntime", 1),
        ("onnxruntime", 2),
        ("pytorch", 1),
        ("pytorch", 2),
    }
    shutil.copy(model, tmp_path)
    assert {target.runtime for target in targets(tmp_path / model.name, [1])} == {"onnxruntime"}


def test_what_is_no_model_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidInput, match="must be an ONNX model, got a file that is not"):
        measure(tmp_path / "model.onnx", Target("onnxruntime", "CPU", 1), (1,), 0.05)
