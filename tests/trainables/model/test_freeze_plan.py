from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config import TrialConfig
from trainables.model.freeze_plan import FreezePlan, freeze_plan


@pytest.mark.parametrize(
    ("settings", "boundaries"),
    [
        ({"strategy": "head"}, {0: 0}),
        ({"strategy": "partial", "trainable_stages": 3}, {0: 3}),
        ({"strategy": "progressive", "unfreeze_epoch": 4}, {0: 0, 4: "all"}),
        ({"strategy": "gradual", "last_stage_epoch": 2, "full_after": 3}, {0: 0, 2: 1, 5: "all"}),
        ({"strategy": "full"}, {0: "all"}),
    ],
)
def test_every_strategy_is_a_plan(
    settings: dict[str, Any], boundaries: dict[int, Any], trial_config: Callable[..., TrialConfig]
) -> None:
    plan = freeze_plan(trial_config(**settings, epochs=9))
    assert plan == FreezePlan(boundaries)
    assert plan.last_boundary == max(boundaries)


@given(st.dictionaries(st.integers(1, 20), st.integers(0, 9) | st.just("all")), st.integers(0, 30))
def test_a_plan_is_in_force_from_its_last_boundary_on(boundaries: dict[int, Any], epoch: int) -> None:
    plan = FreezePlan({0: 0, **boundaries})
    since = plan.since_boundary(epoch)
    assert since in plan.boundaries
    assert since <= epoch
    assert not any(since < other <= epoch for other in plan.boundaries)
    assert plan.stages_at(epoch) == plan.boundaries[since]
    assert plan.stages_at(plan.last_boundary) == plan.stages_at(1000)
