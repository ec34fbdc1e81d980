from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces.errors import OutOfMemory
from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.loop.batches import Batches, TrialBatches
from trainables.loop.memory_policy import MemoryPolicy

CPU, MEAN = torch.device("cpu"), (0.5, 0.5, 0.5)


@pytest.fixture
def images(trial_config: Callable[..., TrialConfig]) -> TrialBatches:
    splits = (Split(np.zeros((count, 32, 32, 3), dtype=np.uint8)) for count in (20, 5))
    train, val = (Batches(trial_config(), split, MEAN, MEAN, CPU) for split in splits)
    return TrialBatches(train, val, "digest")


@pytest.fixture
def policy(images: TrialBatches, trial_config: Callable[..., TrialConfig]) -> Callable[..., MemoryPolicy]:
    def make(ranks: int = 1, **settings: object) -> MemoryPolicy:
        return MemoryPolicy(trial_config(**settings), images, ranks, [])

    return make


def fits(limit: int, sizes: list[int]) -> Callable[[int], str]:
    """Something that fits into memory up to a number of images; notes what it was asked for."""

    def compute(size: int) -> str:
        sizes.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return "done"

    return compute


def test_a_step_is_taken_again_with_half_the_images(policy: Callable[..., MemoryPolicy]) -> None:
    memory, cleared, sizes = policy(batch_size=16), [], []
    compute = fits(4, sizes)
    assert memory.fit_step(lambda: compute(memory.micro_batch), lambda: cleared.append(True)) == "done"
    assert (sizes, len(cleared), memory.micro_batch) == ([16, 8, 4], 2, 4)
    assert memory.notes[-1] == "out of memory: micro-batch halved to 4; BatchNorm sees smaller batches"
    assert memory.fit_step(lambda: compute(memory.micro_batch), pytest.fail) == "done"


def test_a_batch_is_no_larger_than_the_data(policy: Callable[..., MemoryPolicy]) -> None:
    assert policy(batch_size=100).micro_batch == 20
    assert policy(batch_size=16, micro_batch_size=3).micro_batch == 3


def test_images_on_the_device_go_first_and_for_good(
    policy: Callable[..., MemoryPolicy], images: TrialBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.data.arrays._free", lambda device: 10**9)
    images.keep()
    memory, sizes = policy(batch_size=16), []

    def step() -> str:
        return fits(16 if images.train.split.resident is None else 0, sizes)(memory.micro_batch)

    assert memory.fit_step(step, lambda: None) == "done"
    assert (sizes, memory.notes) == ([16, 16], [])
    images.keep()
    assert images.train.split.resident is None
    assert not images.take_back()


@pytest.mark.parametrize("ranks", [1, 2])
def test_where_nothing_can_give_way_the_trial_ends(ranks: int, policy: Callable[..., MemoryPolicy]) -> None:
    memory, sizes = policy(ranks, batch_size=2), []
    with pytest.raises(OutOfMemory, match=rf"^a micro-batch must fit into memory, got {2 if ranks == 2 else 1} images"):
        memory.fit_step(lambda: fits(0, sizes)(memory.micro_batch), lambda: None)
    assert sizes == ([2] if ranks == 2 else [2, 1])
    with pytest.raises(OutOfMemory, match=r"^a validation image must fit into memory, but none does; set a smaller"):
        memory.fit_evaluation(fits(0, sizes))


def test_evaluation_is_divided_as_well(policy: Callable[..., MemoryPolicy]) -> None:
    memory, sizes = policy(), []
    assert memory.fit_evaluation(fits(40, sizes)) == "done"
    assert sizes == [128, 64, 32]
    assert memory.fit_evaluation(fits(40, sizes)) == "done"
    assert sizes[-1] == 32


def test_other_errors_are_not_its_business(policy: Callable[..., MemoryPolicy], tmp_path: Path) -> None:
    def step() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        policy().fit_step(step, lambda: None)
