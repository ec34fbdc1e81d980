import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.presets import preset_architectures, preset_names
from trainables.data.summary.class_counts import ClassCounts
from trainables.data.summary.image_sizes import ImageSizes, Quantiles
from trainables.data_config import DataConfig
from trainables.estimate.probe_scores import ProbeScore
from trainables.estimate.recommendation import recommend, recommend_size
from trainables.interval import Interval


def counts(*train: int) -> ClassCounts:
    return ClassCounts(tuple("abcdef"[: len(train)]), {"train": train})


def score(name: str, value: float, *, is_level: bool) -> ProbeScore:
    return ProbeScore(name, value, Interval(value - 0.1, value + 0.1), value, 50, 1.0, is_level)


@pytest.mark.parametrize(
    ("train", "preset", "balance"),
    [
        ((500, 499), "small-data", "none"),
        ((500, 500), "medium-data", "none"),
        ((5000, 5000), "medium-data", "none"),
        ((5000, 5001), "large-data", "none"),
        ((300, 100), "small-data", "none"),
        ((301, 100), "imbalanced", "sampler"),
    ],
)
def test_the_thresholds_are_those_of_the_guides(train: tuple[int, ...], preset: str, balance: str) -> None:
    found = recommend(counts(*train), [])
    assert (found.preset.value, found.balance.value) == (preset, balance)
    assert found.preset.value in preset_names()
    assert f"{sum(train):,} training images" in found.preset.reason
    assert found.architectures.value == ", ".join(preset_architectures(preset))


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ((34, 34), "each class has 34 training images"),
        ((500, 499), "the largest class has 500 training images, the smallest 499, a ratio of 1, not more than 3"),
    ],
)
def test_equal_classes_are_said_to_be_equal(train: tuple[int, ...], reason: str) -> None:
    assert recommend(counts(*train), []).balance.reason == reason


def test_probes_rank_the_architectures() -> None:
    probes = [score("x", 0.8, is_level=True), score("y", 0.78, is_level=True), score("z", 0.5, is_level=False)]
    found = recommend(counts(5, 5), probes).architectures
    assert found.value == "x, y, z"
    assert "x has the best linear probe, macro-F1 0.800" in found.reason
    assert "50 validation images cannot tell y apart from it; z is worse beyond the interval" in found.reason


def sizes(shorter: float, aspect: float) -> ImageSizes:
    sides = Quantiles(*[shorter] * 5)
    return ImageSizes(9, sides, sides, sides, Quantiles(1, 1, 1, aspect, aspect))


@pytest.mark.parametrize(
    ("median", "aspect", "gpu", "size", "mode"),
    [
        (28, 1, False, 64, "crop"),
        (100, 1, True, 96, "crop"),
        (160, 1.3, False, 96, "crop"),
        (3000, 1.3, True, 224, "crop"),
        (3000, 2.5, True, 224, "squash"),
    ],
)
def test_the_size_follows_photos_and_device(median: float, aspect: float, gpu: bool, size: int, mode: str) -> None:
    found = recommend_size(sizes(median, aspect), has_gpu=gpu)
    assert (found.image_size, found.resize_mode) == (size, mode)
    assert f"{median:.0f} px" in found.size_reason


@given(st.floats(1, 1e5), st.floats(1, 100), st.booleans())
def test_every_size_can_be_used(median: float, aspect: float, gpu: bool) -> None:
    found = recommend_size(sizes(median, aspect), has_gpu=gpu)
    assert DataConfig(root="x", image_size=found.image_size).image_size == found.image_size


def test_without_sizes_the_usual_one_is_taken() -> None:
    assert [recommend_size(None, has_gpu=gpu).image_size for gpu in (True, False)] == [224, 96]
