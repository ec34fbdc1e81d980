"""Condensed trials: the record of a trial without its epochs, of which the totals are kept that a leaderboard shows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from trainables.config import Objective, TrialConfig
from trainables.result import Failure, TrialResult, best_report
from trainables.status import Status

_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class EpochTotals:
    """EpochTotals: what a leaderboard shows of the epochs of a trial."""

    epochs: int
    """Number of epochs."""

    seconds: float
    """Wall time of all epochs."""

    best: int | None
    """Best epoch by an objective, from 1, the earliest of equals; None where none has it."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the best epoch."""

    total_parameters: int | None = None
    """Parameters of the model; None where the record does not say."""

    trainable_parameters: int | None = None
    """Parameters that were trained, at most at once; None where the record does not say."""


class CondensedTrial(TrialResult):
    """CondensedTrial: a trial whose record has been read before. Its `reports` and `rungs` are left out."""

    totals: EpochTotals
    """Totals of its epochs by the objective of the run."""


def epoch_totals(objective: Objective, trial: TrialResult) -> EpochTotals:
    """Return the totals of a trial's epochs by `objective`, which an older record may lack.

    A condensed trial has them by the objective of its run only.
    """
    if isinstance(trial, CondensedTrial):
        return trial.totals
    best = best_report([report for report in trial.reports if objective.metric in report.metrics], objective)
    sizes = [
        max((getattr(report, name) or 0 for report in trial.reports), default=0) or None
        for name in ("total_parameters", "trainable_parameters")
    ]
    own = (None, {}) if best is None else (best.epoch, best.metrics)
    return EpochTotals(len(trial.reports), trial.seconds, *own, *sizes)


class Condenser:
    """Condenser: writes trials of one run as short rows of JSON, and makes condensed trials of them.

    A configuration is written as its difference from that of one trial, and not validated again: its record was.
    """

    def __init__(self, objective: Objective, base: TrialConfig) -> None:
        """Take the objective of the run, and the configuration of one of its trials."""
        self.base = base
        self._objective = objective
        self._section = lru_cache(maxsize=None)(self._read_section)
        # Copied for each trial: `model_construct` looks up every default anew.
        nothing = EpochTotals(epochs=0, seconds=0, best=None)
        self._blank = CondensedTrial.model_construct(trial_id="", config=base, parameters={}, totals=nothing)

    def row(self, trial: TrialResult) -> list[Any] | None:
        """Return the row of a trial; None where its configuration is not plain enough, and its record must be read."""
        settings: dict[str, Any] = {}
        for name, value in vars(trial.config).items():
            if (type(value), value) == (type(old := getattr(self.base, name)), old):
                continue
            if isinstance(value, BaseModel) and type(value) is type(old):
                settings[name] = value.model_dump(mode="json", exclude_none=True)
            elif type(value) in _PLAIN:
                settings[name] = value
            else:
                return None
        totals = epoch_totals(self._objective, trial)
        failure = None if trial.failure is None else trial.failure.message
        return [trial.trial_id, trial.status.value, settings, trial.parameters, failure, *vars(totals).values()]

    def trial(self, row: list[Any]) -> CondensedTrial:
        """Return the condensed trial of a row."""
        trial_id, status, settings, parameters, failure, *totals = row
        changed = {
            name: self._section(name, json.dumps(value)) if isinstance(value, dict) else value
            for name, value in settings.items()
        }
        return self._blank.model_copy(
            update={
                "trial_id": trial_id,
                "status": Status(status),
                "config": self.base.model_copy(update=changed),
                "parameters": parameters,
                "failure": None if failure is None else Failure.model_construct(message=failure),
                "totals": EpochTotals(*totals),
            }
        )

    def _read_section(self, name: str, text: str) -> BaseModel:
        section: type[BaseModel] = type(getattr(self.base, name))
        return section.model_validate(json.loads(text))
