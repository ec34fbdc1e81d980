from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.errors import OutOfMemory
from trainables.data.node_cache import NodeCache
from trainables.model.build import bare_model
from trainables.model.feature_cache import ImageInputs, open_rows, stored_rows
from trainables.model.freeze import set_trainable
from trainables.model.split_model import Cut, find_cut
from trainables.model.stages import stage_table

Open = Callable[..., Any]
BATCH = 128
COUNT = BATCH + 5


@pytest.fixture
def images() -> Tensor:
    return torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    built = bare_model("test_efficientnet", 3)
    set_trainable(built, stage_table(built).trainable(0))
    return built


@pytest.fixture
def cut(model: nn.Module) -> Cut:
    return find_cut(model, torch.rand(2, 3, 32, 32))


@pytest.fixture
def rows(images: Tensor, model: nn.Module, cut: Cut, tmp_path: Path) -> Open:
    def opened(**changes: Any) -> Any:
        cache = changes.pop("cache", NodeCache(tmp_path, 10**9))
        inputs = changes.pop("inputs", lambda indices: images[torch.from_numpy(indices)])
        wanted = ImageInputs(COUNT, inputs, changes.pop("identity", {"split": "train"}))
        settings = {"context": nullcontext, "batch": BATCH, **changes}
        stored = stored_rows(model, cut, wanted, dtype=settings.pop("dtype", "fp32"), batch=settings["batch"])
        return open_rows(cache, stored, model, cut, wanted, **settings)

    return opened


def never(indices: Any) -> Tensor:
    raise AssertionError("there was nothing to compute")


def test_a_row_an_image_in_their_order(rows: Open, images: Tensor, model: nn.Module, cut: Cut) -> None:
    found = rows()
    assert (found.shape, found.dtype, found.flags.writeable) == ((COUNT, cut.width), np.float32, False)
    with torch.no_grad():
        expected = cut.prefix(model.eval())(images).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_they_are_computed_once(rows: Open) -> None:
    first = rows()
    np.testing.assert_array_equal(rows(inputs=never), first)


def test_whatever_decides_them_is_in_their_name(rows: Open, model: nn.Module) -> None:
    rows()
    changes: list[dict[str, Any]] = [{"dtype": "fp16"}, {"identity": {"split": "val"}}]
    for change in changes:
        with pytest.raises(AssertionError, match="nothing to compute"):
            rows(inputs=never, **change)
    model.get_parameter("blocks.0.0.conv.weight").data.view(-1)[0] += 1e-3
    with pytest.raises(AssertionError, match="nothing to compute"):
        rows(inputs=never)


def test_the_head_and_what_it_is_trained_with_are_not(rows: Open, model: nn.Module) -> None:
    first = rows()
    model.get_parameter("classifier.weight").data += 1
    np.testing.assert_array_equal(rows(inputs=never), first)


def test_half_precision_stays_finite(rows: Open, images: Tensor) -> None:
    found = rows(dtype="fp16", inputs=lambda indices: 1e9 * images[torch.from_numpy(indices)])
    assert found.dtype == np.float16
    assert np.isfinite(found).all()


def test_beyond_the_budget_there_are_none(rows: Open, tmp_path: Path) -> None:
    assert rows(cache=NodeCache(tmp_path, 1000), inputs=never) is None


def test_a_batch_that_does_not_fit_is_divided(rows: Open, images: Tensor) -> None:
    sizes = []

    def small(indices: Any) -> Tensor:
        sizes.append(len(indices))
        if len(indices) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return images[torch.from_numpy(indices)]

    divided = rows(inputs=small)
    assert sizes == [128, 64, 32, 32, 32, 32, 5]
    np.testing.assert_allclose(divided, rows(identity={"split": "another"}), rtol=1e-4, atol=1e-5)


def test_when_not_one_image_fits_it_says_so(rows: Open) -> None:
    def none(indices: Any) -> Tensor:
        raise MemoryError

    with pytest.raises(OutOfMemory, match=r"^an image must fit into memory, but none does; set a smaller architecture"):
        rows(inputs=none)
