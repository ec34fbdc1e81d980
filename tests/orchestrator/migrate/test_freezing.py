from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.migrate.freezing import freezing, level_of, whole_number
from trainables.config import STRATEGY_PARAMETERS, TrialConfig

HEAD, FULL = {"strategy": "head"}, {"strategy": "full"}
PARTIAL = {"strategy": "partial", "trainable_stages": 1}


def progressive(epoch: int) -> dict[str, Any]:
    return {"strategy": "progressive", "unfreeze_epoch": epoch}


def gradual(last: int, after: int) -> dict[str, Any]:
    return {"strategy": "gradual", "last_stage_epoch": last, "full_after": after}


@pytest.mark.parametrize(
    ("freeze", "unfreeze_at", "expected", "noted"),
    [
        (None, None, FULL, False),
        (False, None, FULL, False),
        (True, None, HEAD, False),
        (True, -1, HEAD, False),
        (False, -1, FULL, False),
        (True, 5, progressive(5), False),
        (None, 5, progressive(5), False),
        (True, 0, FULL, False),
        (True, 20, HEAD, True),
        (False, 5, FULL, True),
    ],
)
def test_the_guides_two_keys(
    freeze: bool | None, unfreeze_at: int | None, expected: dict[str, Any], noted: bool
) -> None:
    found = freezing(freeze, unfreeze_at, None, 20, "p")
    assert found.settings == expected
    assert bool(found.notes) == noted
    assert (found.unknown, found.refused) == ([], [])


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (
            [
                {"epoch": 0, "unfreeze": "classifier"},
                {"epoch": 5, "unfreeze": "last_stage"},
                {"epoch": 10, "unfreeze": "all"},
            ],
            gradual(5, 5),
        ),
        ([{"start_epoch": 4, "layers": ["classifier", "last block"]}, {"epoch": "9", "train": "ALL"}], gradual(4, 5)),
        ([{"epoch": 3, "unfreeze": "backbone"}], progressive(3)),
        (
            [{"epochs": 2, "train": "head"}, {"epochs": 3, "train": "layer4"}, {"epochs": 4, "train": "full"}],
            gradual(2, 3),
        ),
        ([{"epoch": 0, "unfreeze": "last_stage"}], PARTIAL),
        ([{"epoch": 0, "unfreeze": "all"}], FULL),
        ([{"epoch": 0, "unfreeze": "classifier"}], HEAD),
        ({"enabled": True, "phase1_epochs": 5, "phase2_epochs": 5, "phase3_epochs": 10}, gradual(5, 5)),
        ({"phase1": {"epochs": 3}, "phase2": {"epochs": 4}}, progressive(3)),
        ({"phases": [{"epoch": 2, "unfreeze": "all"}]}, progressive(2)),
        ({"last_stage_epoch": 2, "full_epoch": 6}, gradual(2, 4)),
    ],
)
def test_phases(phases: Any, expected: dict[str, Any]) -> None:
    found = freezing(True, None, phases, 20, "p")
    assert (found.settings, found.notes, found.unknown) == (expected, [], [])


@pytest.mark.parametrize(
    ("phases", "expected", "note"),
    [
        ([{"epoch": 6, "unfreeze": "last_stage"}], PARTIAL, "the last stage trains from the start, not from epoch 6"),
        ({"last_stage_epoch": 0, "full_epoch": 5}, gradual(1, 4), "the last stage thaws at epoch 1, not at 0"),
        ({"last_stage_epoch": 0, "full_epoch": 1}, progressive(1), "thaws with the rest at epoch 1"),
        (
            {"last_stage_epoch": 5, "full_epoch": 40},
            PARTIAL,
            "the backbone never thaws: epoch 40 is not below epochs, 20",
        ),
        ({"last_stage_epoch": 30}, HEAD, "the last stage never thaws: epoch 30 is not below epochs, 20"),
    ],
)
def test_a_plan_that_thaw_has_not_becomes_the_nearest_with_a_note(
    phases: Any, expected: dict[str, Any], note: str
) -> None:
    found = freezing(True, None, phases, 20, "p")
    assert found.settings == expected
    assert any(note in told for told in found.notes)


def test_phases_that_are_off_or_not_understood_leave_the_other_keys() -> None:
    off = freezing(True, 4, {"enabled": False, "phase1_epochs": 9}, 20, "p")
    assert (off.settings, off.unknown) == (progressive(4), [])
    assert freezing(True, 4, False, 20, "p").unknown == []
    odd = freezing(True, 4, [{"epoch": 2, "unfreeze": "wings", "lr": 1e-4, "freeze_bn": True}, 7], 20, "p")
    assert odd.settings == progressive(4)
    assert odd.unknown == ["p[0].lr: 0.0001"]
    assert odd.refused == [
        "p[0].freeze_bn: must be understood, got True",
        "p[0]: must be understood, got {'epoch': 2, 'unfreeze': 'wings', 'lr': 0.0001, 'freeze_b...",
        "p[1]: must be a section, got 7",
    ]
    assert freezing(None, "soon", True, 20, "p").refused == [
        "unfreeze_backbone_at_epoch: must be a whole number, got 'soon'",
    ]
    assert freezing(None, None, True, 20, "p").refused == ["p: must name its phases, got True"]
    assert freezing(None, -1, None, 20, "p").refused == [
        "unfreeze_backbone_at_epoch: must stand with freeze_backbone, got -1 alone"
    ]
    both = freezing(True, 4, [{"epoch": 2, "unfreeze": "all"}], 20, "p")
    assert (both.settings, both.notes) == (progressive(2), ["unfreeze_backbone_at_epoch 4 gives way to p"])


@pytest.mark.parametrize(
    ("freeze", "unfreeze_at", "stages", "expected", "noted"),
    [
        (True, None, 1, PARTIAL, False),
        (None, None, 2, {"strategy": "partial", "trainable_stages": 2}, False),
        (True, -1, 2, {"strategy": "partial", "trainable_stages": 2}, False),
        (True, 5, 2, {"strategy": "partial", "trainable_stages": 2}, True),
        (True, None, 0, HEAD, False),
        (None, None, "all", FULL, False),
        (True, 5, "all", progressive(5), False),
    ],
)
def test_layers_that_are_named(
    freeze: bool | None, unfreeze_at: int | None, stages: Any, expected: dict[str, Any], noted: bool
) -> None:
    found = freezing(freeze, unfreeze_at, None, 20, "p", stages)
    assert (found.settings, bool(found.notes), found.refused) == (expected, noted, [])


@pytest.mark.parametrize(
    ("freeze", "unfreeze_at", "phases", "stages"),
    [
        (False, None, None, 1),
        (True, None, None, "all"),
        (True, 5, None, 0),
        (None, None, {"phase1_epochs": 3, "phase2_epochs": 3}, 1),
    ],
)
def test_layers_that_contradict_another_key(freeze: Any, unfreeze_at: Any, phases: Any, stages: Any) -> None:
    assert len(freezing(freeze, unfreeze_at, phases, 20, "p", stages).refused) == 1


def test_words_for_layers() -> None:
    assert [level_of(name) for name in ("Head", "last block", "backbone", "layer3")] == [
        *("classifier", "last_stage", "all"),
        None,
    ]


def test_phases_say_how_long_the_training_is() -> None:
    three = {"phase1_epochs": 5, "phase2_epochs": 6, "phase3_epochs": 7}
    assert freezing(None, None, three, None, "p").epochs == 18
    listed = [{"epochs": 2, "train": "head"}, {"epochs": 3, "train": "all"}]
    assert freezing(None, None, listed, None, "p").epochs == 5
    assert freezing(None, None, [{"epoch": 2, "train": "all"}], None, "p").epochs is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (5.0, 5),
        ("5", 5),
        ("-1", -1),
        (True, None),
        (5.5, None),
        ("x", None),
        (None, None),
        (1e300, None),
        ([1], None),
    ],
)
def test_whole_numbers(value: Any, number: int | None) -> None:
    assert whole_number(value) == number


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats(max_value=50) | st.text(max_size=3) | st.just("all"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["epoch", "epochs", "unfreeze", "enabled", "phases", "phase1_epochs", "phase2", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.none() | st.booleans(),
    st.none() | st.integers(-2, 30) | st.text(max_size=3),
    anything,
    st.none() | st.integers(1, 30),
)
def test_whatever_it_says_it_is_a_valid_strategy(
    freeze: Any, unfreeze_at: Any, phases: Any, epochs: int | None
) -> None:
    found = freezing(freeze, unfreeze_at, phases, epochs, "p")
    assert set(found.settings) - {"strategy"} == set(STRATEGY_PARAMETERS[found.settings["strategy"]])
    length = epochs or found.epochs or 10_000
    values = {"data": {"root": "photos"}, "architecture": "x", "lr": 0.1, "epochs": length}
    TrialConfig.model_validate({**values, **found.settings})
