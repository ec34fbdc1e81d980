import itertools

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from trainables.data.augmentation.geometry import affine_maps, box_masks, perspectives, resample, rotations

SIZE = 32


def images(count: int) -> torch.Tensor:
    """Smooth pictures, so that two ways of rounding a place do not show."""
    coarse = torch.from_numpy(np.random.default_rng(0).random((count, 3, 5, 5), dtype=np.float32))
    return torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)


def inner(batch: torch.Tensor) -> torch.Tensor:
    return batch[..., 10:-10, 10:-10]


def test_the_identity_changes_nothing():
    batch = images(3)
    torch.testing.assert_close(resample(batch, np.tile(np.eye(3), (3, 1, 1))), batch, atol=1e-5, rtol=0)


@pytest.mark.parametrize("degrees", [-20.0, 5.0, 135.0])
def test_rotation_agrees_with_torchvision(degrees):
    batch = images(2)
    result = resample(batch, affine_maps(rotations(np.full(2, degrees)), np.zeros((2, 2))))
    expected = functional.rotate(batch, degrees, interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(inner(result), inner(expected), atol=1e-4, rtol=0)


def test_perspective_agrees_with_torchvision():
    batch = images(20)
    inwards = 0.5 * np.random.default_rng(1).random((20, 4, 2))
    result = resample(batch, perspectives(inwards))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    start = (corners + 1) / 2 * SIZE
    end = (corners * (1 - inwards) + 1) / 2 * SIZE
    for before, got, points in zip(batch, result, end, strict=True):
        expected = functional.perspective(before, start.tolist(), points.tolist())
        torch.testing.assert_close(inner(got), inner(expected), atol=2e-3, rtol=0)


def test_perspective_moves_the_corners_where_it_says():
    inwards = np.random.default_rng(2).random((50, 4, 2)) * 0.5
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=float)
    moved = np.concatenate([corners[None, :, :2] * (1 - inwards), np.ones((50, 4, 1))], axis=2)
    places = moved @ perspectives(inwards).transpose(0, 2, 1)
    assert places[..., 2].min() > 0.42
    np.testing.assert_allclose(places[..., :2] / places[..., 2:], np.broadcast_to(corners[:, :2], (50, 4, 2)))


def test_a_horizon_within_the_picture_is_no_harm():
    extremes = np.array(list(itertools.product([0, 0.5], repeat=8))).reshape(-1, 4, 2)
    maps = perspectives(extremes)
    nearest = 1 - np.abs(maps[:, 2, :2]).sum(axis=1)
    assert nearest.min() < 0
    result = resample(images(len(maps)), maps)
    assert torch.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


def test_maps_are_joined_from_the_last_change_to_the_first():
    batch = images(1)
    turn = affine_maps(rotations(np.array([30.0])), np.zeros((1, 2)))
    shift = affine_maps(np.eye(2)[None], np.array([[0.3, 0.0]]))
    joined = resample(batch, turn @ shift)
    torch.testing.assert_close(inner(joined), inner(resample(resample(batch, turn), shift)), atol=0.03, rtol=0)


def test_boxes_are_from_low_to_high():
    low, high = np.array([[1, 0], [2, 2]]), np.array([[4, 2], [2, 5]])
    masks = box_masks(low, high, 5, torch.device("cpu"))
    assert masks.shape == (2, 1, 5, 5)
    assert masks[0, 0].nonzero().tolist() == [[y, x] for y in (0, 1) for x in (1, 2, 3)]
    assert not masks[1].any()
