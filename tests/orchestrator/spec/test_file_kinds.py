from typing import Any

import pytest

from orchestrator.spec.file_kinds import is_sweep_file, is_trial_file, trial_settings

TRIAL = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 3, "lr": 0.1}
SWEEP = {"data": {"root": "photos"}, "trial": {"epochs": 3}, "space": {"lr": {"log": [0.1, 1]}}}


@pytest.mark.parametrize(
    ("raw", "is_trial", "is_sweep"),
    [
        (TRIAL, True, False),
        (SWEEP, False, True),
        ({"architecture": "resnet18", "strategy": "ddp"}, False, False),
        ({**TRIAL, "freeze_backbone": True}, False, False),
        ({"architecture": "resnet18", "lr": 0.1}, False, False),
        ({"data": {"root": "photos"}}, False, False),
        ({**TRIAL, "strategy": ["head"]}, False, False),
        ({1: 2}, False, False),
        ({}, False, False),
    ],
)
def test_a_file_of_thaw_is_known_by_its_keys(raw: dict[Any, Any], is_trial: bool, is_sweep: bool) -> None:
    assert (is_trial_file(raw), is_sweep_file(raw)) == (is_trial, is_sweep)


def test_settings_of_a_trial_stand_out_where_no_section_of_a_sweep_is() -> None:
    assert trial_settings(TRIAL) == ["architecture", "strategy", "epochs", "lr"]
    assert trial_settings({**TRIAL, "search": {"trials": 2}}) == []
    assert trial_settings(SWEEP) == []
    assert trial_settings({"data": {"root": "photos"}}) == []
