"""Synchronization: W&B is compared with the ledger, and what it lacks is sent from there.

The ledger is the only truth: offline files of W&B, which a killed driver leaves cut, are not read. What W&B holds can
grow at its end, but it cannot be changed: a run with a hole or another value is replaced by one under a new id.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.winner import retrained_trial
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.dispatcher import Dispatcher, end_values
from orchestrator.tracking.flat_config import flat_config
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import JobType, TrialContext
from orchestrator.tracking.weights_biases.offline_files import mark_as_sent, unsent_files
from orchestrator.tracking.weights_biases.runs import SUPERSEDED, SentRun, SentRuns
from orchestrator.tracking.weights_biases.service import check_sending
from orchestrator.tracking.weights_biases.tracker import WandbTracker, epoch_values, trial_tags
from trainables.result import TrialResult

# A person waits for it, and models may have to be uploaded.
SEND_SECONDS = 600.0


class Gap(Enum):
    """Gap: kind of a difference between W&B and the ledger."""

    MISSING = "it is not in W&B"
    SHORT = "its last epochs are not in W&B"
    END = "its end is not in W&B"
    DIFFERENT = "its epochs in W&B are others"


@dataclass(frozen=True)
class RunDifference:
    """RunDifference: one run that W&B does not hold as the ledger does."""

    name: str
    """Id of the trial."""

    gap: Gap
    """Kind of the difference."""

    detail: str
    """Phrase with the figures."""

    def __str__(self) -> str:
        return f"{self.name}: {self.gap.value}{self.detail}"


class WandbSync:
    """WandbSync: one run on disk, and what W&B holds of it."""

    def __init__(self, run: RunFolder, settings: Wandb) -> None:
        """Connect to the service. Raises InvalidInput where nothing can be sent, ThawError where the service fails."""
        check_sending()
        self._run = run
        self._tracker = WandbTracker(settings.model_copy(update={"mode": "online"}), upload_seconds=SEND_SECONDS)
        self._sent = SentRuns(settings.project, settings.entity)

    def differences(self) -> list[RunDifference]:
        """Compare all trials, and the summary of the sweep, with what W&B holds."""
        sweep, held = self._held()
        summary = SweepSummary.from_run(self._run)
        found = [
            compare_trial(kept.trial, held.get(sweep.id_of(kept.trial.trial_id)), kept.test)
            for kept in self._kept(summary)
        ]
        found.append(compare_summary(summary, held))
        return [difference for difference in found if difference is not None]

    def send(self, tell: Callable[[str], None], *, again: bool = False) -> list[RunDifference]:
        """Send what W&B lacks, and return what differs afterwards; `tell` gets a line per run.

        With `again`, a run that cannot be repaired is sent under a new id, and the old one gets a tag. Raises
        ThawError where the service cannot be used.
        """
        sweep, held = self._held()
        for kept in self._kept(SweepSummary.from_run(self._run)):
            name, sent = kept.trial.trial_id, held.get(sweep.id_of(kept.trial.trial_id))
            difference = compare_trial(kept.trial, sent, kept.test)
            if difference is None or (difference.gap is Gap.DIFFERENT and not again):
                continue
            if difference.gap is Gap.DIFFERENT:
                sweep, sent = self._replaced(sweep, name), None
            self._send(sweep, kept, sent, tell)
            if again and sent is None and not self._sent.find({"name": sweep.id_of(name)}):
                # W&B keeps the id of a run that was deleted, and takes no other run under it.
                sweep = self._replaced(sweep, name)
                self._send(sweep, kept, None, tell)
        left = self.differences()
        if any(difference.name == "sweep" for difference in left):
            self._publish(tell)
            left = self.differences()
        self._mark_files({difference.name for difference in left})
        return left

    def _mark_files(self, differing: Set[str]) -> None:
        """Mark the offline files of all runs that W&B holds as the ledger does."""
        sweep, trials = SweepIdentity.of(self._run), Ledger(self._run).trials()
        names = {trial.trial_id for trial in trials} | {"retrain", "sweep", "export"}
        for name in names - differing:
            for file in unsent_files(self._run, sweep.id_of(name)):
                mark_as_sent(file)

    def _held(self) -> tuple[SweepIdentity, Mapping[str, SentRun]]:
        sweep = SweepIdentity.of(self._run)
        runs = [run for run in self._sent.find({"group": sweep.group}) if SUPERSEDED not in run.tags]
        return sweep, {run.run_id: run for run in runs}

    def _replaced(self, sweep: SweepIdentity, name: str) -> SweepIdentity:
        """Give a trial its next id, before anything is sent under it; the tracker tags the run before."""
        attempts = {**sweep.attempts, name: sweep.attempts.get(name, 1) + 1}
        Ledger(self._run).update_run(attempts=attempts)
        return replace(sweep, attempts=attempts)

    def _kept(self, summary: SweepSummary) -> list["_KeptTrial"]:
        """Return the trials of the ledger, and the retrained winner."""
        trials = Ledger(self._run).trials()
        kept = [_KeptTrial(trial, summary.sweep.job, TrialFiles.newest(self._run, trial.trial_id)) for trial in trials]
        retrained = None if summary.winner is None else retrained_trial(self._run, summary.winner)
        if retrained is not None:
            folder = self._run.winner
            made = TrialFiles(folder / "predictions.parquet", folder / "checkpoints" / "best")
            test = {f"test/{name}": value for name, value in summary.test.items()}
            kept.append(_KeptTrial(retrained, "retrain", made, test))
        return kept

    def _send(
        self, sweep: SweepIdentity, kept: "_KeptTrial", sent: SentRun | None, tell: Callable[[str], None]
    ) -> None:
        trial, count = kept.trial, 0 if sent is None else len(sent.rows)
        name, rows = trial.trial_id, trial.reports
        dispatcher = Dispatcher([self._tracker], sweep, self._run)
        dispatcher.start(
            TrialContext(sweep, self._run, name, kept.job_type, trial.config, trial.parameters, rows, kept.files)
        )
        dispatcher.finish(name, trial.status, {**end_values(trial), **kept.test})
        self._close(dispatcher, f"{name}: sent, {len(trial.reports) - count} epochs of {len(trial.reports)}", tell)

    def _publish(self, tell: Callable[[str], None]) -> None:
        dispatcher = Dispatcher([self._tracker], SweepIdentity.of(self._run), self._run)
        dispatcher.publish(lambda: SweepSummary.from_run(self._run))
        self._close(dispatcher, "sweep: summary sent", tell)

    @staticmethod
    def _close(dispatcher: Dispatcher, done: str, tell: Callable[[str], None]) -> None:
        for line in dispatcher.close(SEND_SECONDS) or (done,):
            tell(line)


@dataclass(frozen=True)
class _KeptTrial:
    """_KeptTrial: a trial as the run keeps it."""

    trial: TrialResult
    job_type: JobType
    files: TrialFiles
    test: Mapping[str, float] = field(default_factory=dict)


def compare_trial(
    trial: TrialResult, sent: SentRun | None, test: Mapping[str, float] = MappingProxyType({})
) -> RunDifference | None:
    """Compare a trial, and its test metrics where it has some, with its run in W&B; None where they are equal."""
    name = trial.trial_id
    if sent is None:
        return RunDifference(name, Gap.MISSING, "")
    wanted = [epoch_values(report) for report in trial.reports]
    rows = [dict(row) for row in sent.rows]
    if rows != wanted[: len(rows)]:
        pairs = enumerate(zip(rows, wanted, strict=False), start=1)
        row = next((number for number, (theirs, ours) in pairs if theirs != ours), len(wanted) + 1)
        return RunDifference(name, Gap.DIFFERENT, f", from row {row} on")
    if len(rows) < len(wanted):
        return RunDifference(name, Gap.SHORT, f": {len(rows)} of {len(wanted)}")
    config = {**flat_config(trial.config), "searched": ", ".join(trial.parameters)}
    best = {} if trial.best is None else epoch_values(trial.best)
    wrong = [key for key, value in config.items() if sent.config.get(key) != value]
    ended = {"status": trial.status.value, **best, **test}
    wrong += [key for key, value in ended.items() if sent.summary.get(key) != value]
    wrong += [f"tag {tag}" for tag in trial_tags(trial.config, trial.status) if tag not in sent.tags]
    return RunDifference(name, Gap.END, f": {', '.join(wrong)}") if wrong else None


def compare_summary(summary: SweepSummary, held: Mapping[str, SentRun]) -> RunDifference | None:
    """Compare the summary of a sweep, and its exported model, with the runs in W&B; None where they are equal."""
    sent = held.get(summary.sweep.id_of("sweep"))
    if sent is None:
        return RunDifference("sweep", Gap.MISSING, "")
    wrong = [name for name, value in summary.values().items() if sent.summary.get(name) != value]
    export = held.get(summary.sweep.id_of("export"))
    if summary.exported is not None and (export is None or export.config.get("trial") != summary.exported):
        wrong.append("exported model")
    return RunDifference("sweep", Gap.END, f": {', '.join(wrong)}") if wrong else None


def describe(differences: Sequence[RunDifference]) -> list[str]:
    """Return a line per run that differs, and the remedy of those that `sync` cannot repair."""
    lines = [str(difference) for difference in differences]
    if any(difference.gap is Gap.DIFFERENT for difference in differences):
        lines.append("send runs that differ again under a new id, and tag the old ones, with: --replace")
    return lines
