import copy
from typing import Any

import pytest

from orchestrator.spec.overrides import apply_override, overridden
from search_spaces.errors import InvalidInput

SPACE = {
    "architecture": {"choice": ["a", "b"]},
    "lr": [{"log": [1e-3, 1e-2], "when": {"strategy": "head"}}, {"log": [1e-5, 1e-3], "when": {"strategy": "full"}}],
}


def changed(override: str) -> dict[str, Any]:
    raw: dict[str, Any] = {"search": {"trials": 3, "warm_start": "none"}, "space": copy.deepcopy(SPACE)}
    apply_override(raw, override)
    return raw


@pytest.mark.parametrize(
    ("override", "choice"),
    [
        ("space.architecture+=c", ["a", "b", "c"]),
        ("space.architecture.choice+=c", ["a", "b", "c"]),
        ("space.architecture += c", ["a", "b", "c"]),
        ("space.architecture+=[c, 1e-3]", ["a", "b", "c", 1e-3]),
        ("space.architecture.choice=[c]", ["c"]),
        ("space.architecture={choice: [c]}", ["c"]),
    ],
)
def test_a_choice_is_appended_to_or_replaced(override: str, choice: list[Any]) -> None:
    assert changed(override)["space"]["architecture"] == {"choice": choice}
    assert overridden(override).startswith("space.architecture")


def test_a_number_steps_into_a_list() -> None:
    lr = changed("space.lr.1.log=[1e-6, 1e-2]")["space"]["lr"]
    assert lr[1] == {"log": [1e-6, 1e-2], "when": {"strategy": "full"}}


def test_a_list_that_is_not_there_begins() -> None:
    assert changed("search.points+={lr: 1}")["search"]["points"] == [{"lr": 1}]
    assert changed("search.warm_start+=runs/a")["search"]["warm_start"] == ["runs/a"]


def test_a_condition_s_domain_is_appended() -> None:
    lr = changed("space.lr+={log: [1e-4, 1e-2], when: {strategy: partial}}")["space"]["lr"]
    assert len(lr) == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "search.trials+=3",
            "--set search.trials: += appends to a list, got 3; replace it with --set search.trials=...",
        ),
        (
            "space.lr.2.log=[1, 2]",
            "--set space.lr.2.log: a list's entry is named by its number, 0 to 1, got '2'; give one",
        ),
        ("space.lr.log=[1, 2]", "--set space.lr.log: a list's entry is named by its number, 0 to 1, got 'log'"),
        ("+=c", "--set must be key=value, got '+=c'"),
    ],
)
def test_what_cannot_be_changed_so_is_refused(override: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        changed(override)
    assert message in str(caught.value)
