from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.balance import batches
from trainables.model.batch_norm import check_batch_norm, smallest_part
from trainables.model.build import bare_model

Config = Callable[..., TrialConfig]
NARROW = "mobilenetv3_small_050"


def check(config: TrialConfig, images: int = 8, workers: int = 1) -> None:
    check_batch_norm(bare_model(config.architecture, 3), config, images, workers)


@pytest.mark.parametrize(
    ("settings", "images", "workers", "said"),
    [
        (
            {"batch_size": 1},
            9,
            1,
            "batch_size: 1 for 9 images of train: BatchNorm .* has one at data.image_size 32; set ba",
        ),
        ({"batch_size": 1}, 8, 1, "; set batch_size: 2, a larger"),
        # Nine in batches of 2 are three batches of 2 and one of 3, of which a worker holds two at once.
        ({"batch_size": 2}, 9, 1, "batch_size: 2 for 9 images of train: .*; set batch_size: 3, a larger"),
        ({"batch_size": 4, "micro_batch_size": 1}, 8, 1, "micro_batch_size: 1 for .* set batch_size: 4 without micro_"),
        ({"batch_size": 3, "micro_batch_size": 2}, 9, 1, "batch_size: 3, micro_batch_size: 2 for 9 images"),
        ({"batch_size": 2}, 8, 2, "batch_size: 2, 2 workers for 8 images of train: .* set batch_size: 4, a larger"),
        ({"batch_size": 8}, 1, 1, "batch_size: 8 for 1 images of train: .*; set a larger data.image_size"),
        ({"batch_size": 1, "strategy": "progressive", "unfreeze_epoch": 1}, 9, 1, "batch_size: 1 for"),
    ],
)
def test_a_step_of_one_value_is_refused(
    settings: dict[str, Any], images: int, workers: int, said: str, trial_config: Config
) -> None:
    with pytest.raises(InvalidInput, match=said):
        check(trial_config(architecture=NARROW, **settings), images, workers)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 2},
        {"batch_size": 1, "strategy": "head"},  # frozen layers take no statistics
        {"batch_size": 1, "norm_stats": "frozen"},
        {"batch_size": 1, "data": {"image_size": 224}, "architecture": "resnet10t"},
        {"batch_size": 1, "architecture": "test_vit", "data": {"image_size": 160}},  # has no BatchNorm
    ],
)
def test_what_can_be_trained_is_not_refused(settings: dict[str, Any], trial_config: Config) -> None:
    check(trial_config(**{"architecture": NARROW, **settings}))


def test_the_model_and_chance_are_left_as_they_are(trial_config: Config) -> None:
    model = bare_model("resnet10t", 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    check_batch_norm(model, trial_config(architecture="resnet10t", batch_size=1, data={"image_size": 224}), 9, 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in model.parameters())


@given(
    images=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    workers=st.integers(1, 5),
    micro=st.none() | st.integers(1, 40),
)
def test_the_smallest_part_is_that_of_an_epoch(images: int, batch_size: int, workers: int, micro: int | None) -> None:
    sizes = {
        len(part)
        for batch in batches(np.arange(images), batch_size)
        for share in np.array_split(batch, workers)
        for part in np.array_split(share, max(1, -(-len(share) // min(micro or batch_size, images))))
    }
    assert smallest_part(batch_size, micro, images, workers) == min(sizes - {0})
