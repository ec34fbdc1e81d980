import math

import pytest

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.task_catalog import (
    BUILT_IN,
    DEFAULT_TASK,
    Metric,
    all_metrics,
    default_metric,
    find_metric,
    metrics_of,
    task_entry,
    task_names,
    unread_settings,
)


def test_the_default_is_built_in_and_the_first() -> None:
    assert task_names()[0] == DEFAULT_TASK
    assert default_metric(DEFAULT_TASK) == "val/macro_f1"
    assert all_metrics() == metrics_of(DEFAULT_TASK)


def test_a_metric_is_found_under_any_task() -> None:
    assert find_metric("val/loss") == Metric("min", 0)
    assert find_metric("val/f1") is None


def test_settings_are_those_of_the_configuration() -> None:
    for name, entry in BUILT_IN.items():
        assert set(entry.settings) <= set(TrialConfig.model_fields)
        assert not {*entry.settings} & {*unread_settings(name)}


def test_an_unknown_task_is_refused_with_the_closest() -> None:
    with pytest.raises(InvalidInput, match=r"^task: must be one of classification, got 'classify'; did you mean class"):
        task_entry("classify")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0, 1, "between 0 and 1"), (0, math.inf, "at least 0"), (-math.inf, 0.5, "at most 0.5")],
)
def test_the_values_of_a_metric_in_words(low: float, high: float, words: str) -> None:
    assert Metric("max", low, high).values == words
