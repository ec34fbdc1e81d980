"""Runs that W&B holds: read through its public API, page by page, and put in the terms of a trial."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.tracking.flat_config import config_of
from orchestrator.tracking.weights_biases.service import REQUEST_SECONDS, check_sending, service_errors
from search_spaces.errors import InvalidInput
from trainables.result import EpochReport, TrialResult, best_report
from trainables.status import Status

SUPERSEDED = "superseded"
"""Tag of a run in place of which another one was sent."""

_PAGE = 100
# As many as a trial has epochs: W&B then leaves out none.
_MOST_ROWS = 10_000
_NOT_METRICS = ("epoch", "time/epoch_s")


@dataclass(frozen=True)
class SentRun:
    """SentRun: one run as W&B holds it."""

    run_id: str
    """Id of the run, unique within the project."""

    name: str
    """Name of the run: the id of its trial."""

    job_type: str
    """Kind of the run: trial, retrain, sweep, export."""

    config: Mapping[str, Any]
    """Settings by flat name."""

    summary: Mapping[str, Any]
    """Values of the best epoch, and the status."""

    tags: tuple[str, ...]
    """Tags, those of users among them."""

    rows: tuple[Mapping[str, Any], ...]
    """Logged rows in order, without W&B's own columns."""

    def to_trial(self, source: str) -> TrialResult:
        """Return the trial of this run. Raises InvalidInput, naming `source`, where it is not one of Thaw."""
        config = config_of(self.config, f"{source}: {self.run_id}")
        try:
            status = Status(self.summary["status"])
            reports = [_report(row) for row in self.rows]
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"{source}: {self.run_id}: must be a trial of Thaw, got a run without {error}") from None
        best: EpochReport | None = None
        kept: list[EpochReport] = []
        for report in reports:
            is_best = best is None or best_report([best, report], config.objective) is report
            best = report if is_best else best
            kept.append(report.model_copy(update={"checkpoint": "best" if is_best else "last"}))
        return TrialResult(
            trial_id=self.name, config=config, parameters=self._parameters(), status=status, reports=tuple(kept)
        )

    def _parameters(self) -> dict[str, Any]:
        names = [name for name in str(self.config.get("searched", "")).split(", ") if name]
        return {name: self.config[name] for name in names if name in self.config}


def _report(row: Mapping[str, Any]) -> EpochReport:
    metrics = {name: value for name, value in row.items() if name not in _NOT_METRICS}
    return EpochReport(epoch=row["epoch"], metrics=metrics, seconds=row["time/epoch_s"], checkpoint="last")


class SentRuns:
    """SentRuns: the runs of one project."""

    def __init__(self, project: str, entity: str | None = None) -> None:
        """Connect to the service; `entity` is by default that of the key.

        Raises InvalidInput without a key or an entity, ThawError where the service cannot be used.
        """
        check_sending()
        with service_errors():
            import wandb

            wandb.setup(wandb.Settings(silent=True))
            self._api = wandb.Api(timeout=math.ceil(REQUEST_SECONDS))
            owner = entity or self._api.default_entity
        if owner is None:
            raise InvalidInput("--entity: must be given where the key has no default entity, got none; give one")
        self._project = f"{owner}/{project}"

    def find(self, filters: Mapping[str, Any]) -> list[SentRun]:
        """Return the runs that match a filter of the service, the oldest first; none in a new project."""
        with service_errors():
            self._api.flush()  # type: ignore[no-untyped-call]  # it keeps what it has read before
            runs = self._api.runs(self._project, filters=dict(filters), order="+created_at", per_page=_PAGE, lazy=False)
            try:
                return [_sent(run) for run in runs]
            except ValueError as error:
                if "Could not find project" in str(error):
                    return []
                raise

    def get(self, run_id: str) -> SentRun:
        """Return one run. Raises InvalidInput where there is none."""
        found = self.find({"name": run_id})
        if not found:
            raise InvalidInput(f"wandb:{self._project}/{run_id}: must be the id of a run of the project, found none")
        return found[0]

    def supersede(self, run_ids: Collection[str]) -> None:
        """Tag those of the runs that are there, in place of which others are sent."""
        for run_id in run_ids:
            with service_errors():
                self._api.flush()  # type: ignore[no-untyped-call]
                for run in self._api.runs(self._project, filters={"name": run_id}):
                    if SUPERSEDED not in run.tags:
                        run.tags = [*run.tags, SUPERSEDED]
                        run.update()


def _sent(run: Any) -> SentRun:
    history = run.history(samples=_MOST_ROWS, pandas=False)
    rows = [{name: value for name, value in row.items() if not name.startswith("_")} for row in history]
    return SentRun(
        run_id=run.id,
        name=run.name,
        job_type=run.job_type or "",
        config={name: value for name, value in run.config.items() if not name.startswith("_")},
        summary=dict(run.summary_metrics),
        tags=tuple(run.tags),
        rows=tuple(row for row in rows if row),
    )
