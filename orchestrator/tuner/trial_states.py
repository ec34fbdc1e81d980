"""TrialStates: the only code that sets the status of a trial. Ledger, study and observers are updated together."""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import optuna

from analysis.ledger import Ledger
from orchestrator.search.proposals import Proposal
from orchestrator.search.study import tell
from orchestrator.worker.assignment import EndKind, TrialEnd
from search_spaces.errors import StorageFailed
from trainables.config import TrialConfig
from trainables.result import Failure, TrialResult
from trainables.status import Status

log = logging.getLogger(__name__)

_BY_END = {
    EndKind.COMPLETED: Status.COMPLETED,
    EndKind.FAILED: Status.FAILED,
    EndKind.OUT_OF_MEMORY: Status.PRUNED_OOM,
    EndKind.TIMED_OUT: Status.TIMED_OUT,
}


def status_of(end: EndKind) -> Status:
    """Return the status of a training that has ended by itself."""
    return _BY_END[end]


class StoppedBy(StrEnum):
    """StoppedBy: cause of the end of a trial that has not ended by itself."""

    SCHEDULER = "scheduler"
    """Rung of ASHA."""

    BUDGET = "budget"
    """Budget of the sweep."""

    REQUEST = "request"
    """User, signal, bad node, or storage that failed."""


_BY_STOP = {
    StoppedBy.SCHEDULER: Status.PRUNED,
    StoppedBy.BUDGET: Status.INTERRUPTED,
    StoppedBy.REQUEST: Status.INTERRUPTED,
}


Foresee = Callable[[TrialConfig], Mapping[str, Any]]
"""Fields of a trial's record that are known before it starts, besides its configuration."""


def nothing_foreseen(_: TrialConfig) -> Mapping[str, Any]:
    """Return no field."""
    return {}


class TrialStates:
    """TrialStates: running trials of a sweep, by Tune's id."""

    def __init__(
        self,
        ledger: Ledger,
        study: optuna.Study,
        on_trial: Callable[[TrialResult], None],
        give_up: Callable[[StorageFailed], None],
        foresee: Foresee = nothing_foreseen,
    ) -> None:
        """Keep the parts; `on_trial` is called with every change; `give_up` when a record cannot be written."""
        self._foresee = foresee
        self._ledger = ledger
        self._study = study
        self._on_trial = on_trial
        self._give_up = give_up
        self._running: dict[str, tuple[TrialResult, optuna.Trial]] = {}
        self._told: dict[str, int] = {}
        """Epochs in the study; a trial that begins anew repeats some, and the study keeps the first values."""

    def begin(self, tune_id: str, proposal: Proposal) -> TrialResult:
        """Enter a trial as RUNNING before it starts."""
        known = self._foresee(proposal.trial.config)
        trial = proposal.trial.model_copy(update={"status": Status.RUNNING, **known})
        proposal.asked.set_user_attr("trial_id", trial.trial_id)
        self._running[tune_id] = (trial, proposal.asked)
        self._tell_epochs(tune_id, trial)
        self._record(trial)
        return trial

    def report(self, tune_id: str, trial: TrialResult) -> None:
        """Enter the new epochs of a trial that continues."""
        self._tell_epochs(tune_id, trial)
        self._running[tune_id] = (trial, self._running[tune_id][1])
        self._record(trial)

    def end(self, tune_id: str, trial: TrialResult | None, end: TrialEnd) -> None:
        """Settle a trial that has ended by itself; one whose storage failed stays unfinished, and the sweep ends.

        `trial` has its epochs; None: those that are known.
        """
        if end.kind is EndKind.STORAGE_FAILED:
            self._give_up(StorageFailed(end.failure.message if end.failure else "storage failed"))
            return
        known = self._running[tune_id][0]
        update = {"status": status_of(end.kind), "failure": end.failure}
        self._settle(tune_id, (trial or known).model_copy(update=update))

    def stop(self, tune_id: str, trial: TrialResult | None, by: StoppedBy) -> None:
        """Settle a trial that was stopped."""
        known = self._running[tune_id][0]
        self._settle(tune_id, (trial or known).model_copy(update={"status": _BY_STOP[by]}))

    def die(self, tune_id: str, reason: str, *, out_of_memory: bool) -> None:
        """Settle a trial whose process died too often."""
        known = self._running[tune_id][0]
        failure = Failure(message=reason, log=f"logs/{known.trial_id}.log")
        kind = EndKind.OUT_OF_MEMORY if out_of_memory else EndKind.FAILED
        self.end(tune_id, None, TrialEnd(kind=kind, failure=failure))

    def interrupt(self) -> list[TrialResult]:
        """Settle every trial that still runs as INTERRUPTED, so that a resumed sweep continues it."""
        interrupted = [trial for trial, _ in self._running.values()]
        for tune_id in list(self._running):
            self.stop(tune_id, None, StoppedBy.REQUEST)
        return interrupted

    def _settle(self, tune_id: str, trial: TrialResult) -> None:
        self._tell_epochs(tune_id, trial)
        _, asked = self._running.pop(tune_id)
        del self._told[tune_id]
        self._record(trial)
        tell(self._study, asked, trial)
        log.info(
            "trial %s: %s after %d epochs, objective %s",
            trial.trial_id,
            trial.status,
            len(trial.reports),
            trial.objective,
        )

    def _record(self, trial: TrialResult) -> None:
        try:
            self._ledger.write_trial(trial)
        except StorageFailed as error:
            self._give_up(error)
        else:
            self._on_trial(trial)

    def _tell_epochs(self, tune_id: str, trial: TrialResult) -> None:
        asked, told = self._running[tune_id][1], self._told.get(tune_id, 0)
        for report in trial.reports[told:]:
            asked.report(trial.config.objective.value(report.metrics), step=report.epoch)
        self._told[tune_id] = max(told, len(trial.reports))
