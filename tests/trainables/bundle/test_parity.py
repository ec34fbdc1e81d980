import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.export import ExportBundle
from trainables.bundle.parity import PARITY_TOLERANCE, TIE, compare, measure_parity, reference
from trainables.bundle.predict import Predictor

Small = tuple[nn.Module, ExportBundle]
Photos = list[tuple[str, bytes]]
Exported = Callable[[str], Small]


@pytest.fixture(scope="module")
def predictor(small: Small) -> Predictor:
    return Predictor.open(small[1].model)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv3_small_050", "efficientnet_b0"])
def test_real_photos_agree(exported: Exported, real_photos: Photos, architecture: str) -> None:
    model, bundle = exported(architecture)
    parity = measure_parity(model, Predictor.open(bundle.model), bundle.preprocessing, real_photos)
    assert parity.holds
    assert (parity.images, parity.same_label, parity.ties, parity.differing) == (40, 40, 0, ())
    assert parity.max_rel_difference < PARITY_TOLERANCE / 10
    assert parity.batch_sizes == (1, 3, 32)


def test_generated_photos_agree(small: Small, predictor: Predictor, photos: Photos) -> None:
    parity = measure_parity(small[0], predictor, small[1].preprocessing, iter(photos), batch_size=4)
    assert parity.holds
    assert (parity.images, parity.same_label, parity.batch_sizes) == (11, 11, (1, 3, 4))
    assert measure_parity(small[0], predictor, small[1].preprocessing, photos[:2]).batch_sizes == (1, 2)


def test_the_model_is_left_as_it_is(small: Small, predictor: Predictor, photos: Photos) -> None:
    model = small[0].train()
    frozen = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert measure_parity(model, predictor, small[1].preprocessing, photos).holds
    assert model.training
    assert not frozen.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_another_preprocessing_is_noticed(small: Small, predictor: Predictor, photos: Photos) -> None:
    for change in ({"resize_mode": "pad"}, {"mean": (0.5, 0.5, 0.5)}):
        changed = dataclasses.replace(small[1].preprocessing, **change)
        parity = measure_parity(small[0], predictor, changed, photos)
        assert not parity.holds
        assert parity.max_rel_difference > PARITY_TOLERANCE
        assert parity.differing == ("photo0.jpg", "photo1.jpg", "photo2.jpg")


def test_other_weights_are_noticed(small: Small, predictor: Predictor, photos: Photos) -> None:
    other = reference(small[0])
    with torch.no_grad():
        other.get_classifier().bias[0] += 100  # type: ignore[operator, index]
    parity = measure_parity(other, predictor, small[1].preprocessing, photos)
    assert not parity.holds
    assert parity.max_abs_difference == pytest.approx(100, rel=1e-3)


def test_a_model_that_answers_nan_never_passes(small: Small, predictor: Predictor, photos: Photos) -> None:
    other = reference(small[0])
    with torch.no_grad():
        other.get_classifier().bias[0] = float("nan")  # type: ignore[operator, index]
    assert not measure_parity(other, predictor, small[1].preprocessing, photos).holds


def test_without_images_nothing_is_measured(small: Small, predictor: Predictor) -> None:
    with pytest.raises(InvalidInput, match="parity is measured on the images of the validation split, got none"):
        measure_parity(small[0], predictor, small[1].preprocessing, [])


def test_compare_by_hand() -> None:
    expected = np.array([[1, 2, -4], [3, 2.5, 0]], np.float32)
    answer = np.array([[1, 2.25, -4], [2, 2.5, 0]], np.float32)
    result = compare(expected, [expected, answer])
    assert result.difference.tolist() == [0.25, 1]
    assert result.margin.tolist() == [0, 0.5]
    assert result.same.tolist() == [True, False]
    assert result.scale == 4


class Answers(nn.Module):
    """Gives the same logits for every photo."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.row.expand(len(images), -1)


@pytest.mark.parametrize(
    ("expected", "answer", "same_label", "ties", "holds"),
    [
        ([10.0, 1.0], [10.0, 1.0], 1, 0, True),
        ([10.0, 1.0], [10.009, 1.0], 1, 0, True),  # within the tolerance, 1e-3 of 10
        ([10.0, 1.0], [10.02, 1.0], 1, 0, False),
        ([10.0, 9.9995], [9.9995, 10.0], 0, 1, True),  # a tie, within 1e-4 of 10
        ([10.0, 9.995], [9.9965, 9.9985], 0, 0, False),  # within the tolerance, but another label and no tie
        ([0.0, 0.0], [0.0, 0.0], 1, 0, True),
        ([0.0, 0.0], [0.1, 0.0], 1, 0, False),
    ],
)
def test_what_is_accepted(
    predictor: Predictor,
    small: Small,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
    expected: list[float],
    answer: list[float],
    same_label: int,
    ties: int,
    holds: bool,
) -> None:
    assert (PARITY_TOLERANCE, TIE) == (1e-3, 1e-4)
    row = np.array(answer, np.float32)
    monkeypatch.setattr(Predictor, "logits", lambda self, batch: np.tile(row, (len(batch), 1)))
    parity = measure_parity(Answers(expected), predictor, small[1].preprocessing, photos[:1])
    assert (parity.same_label, parity.ties, parity.holds) == (same_label, ties, holds)
    assert parity.differing == (() if holds else ("photo0.jpg",))


def test_a_batch_size_that_differs_is_noticed(
    predictor: Predictor, small: Small, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that bakes the batch of the export in: right for four at once, wrong for one."""
    logits = Predictor.logits
    monkeypatch.setattr(Predictor, "logits", lambda self, batch: logits(self, batch) + 9 * (len(batch) == 1))
    parity = measure_parity(small[0], predictor, small[1].preprocessing, photos[:4], batch_size=4)
    assert not parity.holds
    assert parity.max_abs_difference == pytest.approx(9, abs=1e-3)


def test_json(small: Small) -> None:
    parity = small[1].parity
    document = json.loads(json.dumps(parity.to_json(), allow_nan=False))
    assert list(document) == [
        "images", "same_label", "ties", "max_abs_difference", "max_rel_difference", "scale", "tolerance",
        "batch_sizes", "differing",
    ]  # fmt: skip
