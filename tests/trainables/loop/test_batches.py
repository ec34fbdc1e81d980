from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.config import TrialConfig
from trainables.data.arrays import Split
from trainables.data.sample_random import Draw
from trainables.loop.batches import Batches, TrialBatches

CPU = torch.device("cpu")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
INDICES = np.array([7, 2, 5, 0])
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def batches(trial_config: Callable[..., TrialConfig]) -> Callable[..., Batches]:
    return lambda **settings: Batches(trial_config(**settings), Split(IMAGES), MEAN, STD, CPU)


def inputs(own: Batches, indices: np.ndarray = INDICES, epoch: int = 3, seed: int = 7) -> torch.Tensor:
    return own.images(indices, indices[::-1], Draw(seed, epoch))


def test_without_chance_an_image_is_its_normalized_pixels(batches: Callable[..., Batches]) -> None:
    own = batches()
    expected = (IMAGES[INDICES] / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(own.plain(INDICES).numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inputs(own), own.plain(INDICES))
    assert len(own) == 12


SETTINGS = {
    "augmented": {"augmentation": "medium"},
    "mixed": {"mixing": "mixup", "mixing_alpha": 0.8},
    "erased": {"random_erasing": 1.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_chance_belongs_to_the_image_and_the_epoch(name: str, batches: Callable[..., Batches]) -> None:
    own = batches(**SETTINGS[name])
    whole = inputs(own)
    assert not torch.equal(whole, own.plain(INDICES))
    torch.testing.assert_close(whole, inputs(own))
    parts = [own.images(INDICES[part], INDICES[::-1][part], Draw(7, 3)) for part in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(torch.cat(parts), whole, msg="a part of a batch is computed as in the whole")
    assert not torch.equal(whole, inputs(own, epoch=4))
    assert not torch.equal(whole, inputs(own, seed=8))


def test_evaluation_leaves_nothing_to_chance(batches: Callable[..., Batches]) -> None:
    plain = batches().plain(INDICES)
    for settings in SETTINGS.values():
        torch.testing.assert_close(batches(**settings).plain(INDICES), plain)


def test_the_layout_is_that_of_the_configuration_and_changes_no_value(batches: Callable[..., Batches]) -> None:
    one, other = (inputs(batches(channels_last=wanted)) for wanted in (False, True))
    torch.testing.assert_close(one, other)
    assert other.is_contiguous(memory_format=torch.channels_last)


def test_images_on_the_device_are_given_up_for_good(batches: Callable[..., Batches]) -> None:
    own = batches()
    kept = replace(own.split, resident=torch.from_numpy(IMAGES))  # as on a GPU: a processor keeps none
    own.split = kept
    both = TrialBatches(own, batches(), "digest")
    torch.testing.assert_close(own.plain(INDICES), batches().plain(INDICES))
    assert both.take_back()
    assert own.split.resident is None
    assert not both.take_back(), "there is nothing left"
    both.train.keep = pytest.fail  # type: ignore[method-assign]
    both.keep()
