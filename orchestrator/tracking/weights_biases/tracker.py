"""W&B: one run per trial, grouped by sweep, and one run with the summary of the sweep."""

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.flat_config import flat_config
from orchestrator.tracking.summary import SweepSummary, TrialFiles
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import CLIENT_PAUSE_SECONDS, JobType, TrialContext
from orchestrator.tracking.weights_biases.figures import log_figures, page_panels
from orchestrator.tracking.weights_biases.media import (
    class_tables,
    model_artifact,
    record_artifact,
    table,
    weights_artifact,
)
from orchestrator.tracking.weights_biases.offline_files import unsent_files
from orchestrator.tracking.weights_biases.runs import SentRuns
from orchestrator.tracking.weights_biases.service import NAME, REQUEST_SECONDS, resolve_mode
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult, best_report
from trainables.status import Status


class WandbTracker:
    """WandbTracker: runs of W&B. id = uid of the run and trial, group = name and uid of the sweep.

    Online a trial is resumed under its id. Offline each start makes its own folder `offline-run-*-<id>`; `wandb sync`
    joins the folders of one id.
    """

    name = NAME

    def __init__(
        self, settings: Wandb, request_seconds: float = REQUEST_SECONDS, upload_seconds: float | None = None
    ) -> None:
        """Keep the settings; online, an answer of the service is awaited for at most `request_seconds`.

        The end of a run's uploads is awaited for at most `upload_seconds`, by default as long as an answer.
        """
        self._settings = settings
        self._seconds = request_seconds
        self._upload_seconds = request_seconds if upload_seconds is None else upload_seconds

    def start(self, context: TrialContext) -> "WandbTrial":
        """Open the run of a trial, and send the earlier epochs that the service lacks."""
        run_id, before = context.sweep.id_of(context.name), context.sweep.earlier_ids(context.name)
        if not self._is_online:  # the new file has the whole trial; one of a driver that was killed may be cut
            _discard(context.run, [run_id, *before])
        run = self._open_trial(context)
        trial, sent = WandbTrial(run, context, self), 0
        if self._is_online and (before or (context.earlier and run.resumed)):
            service = SentRuns(run.project, run.entity)
            service.supersede(before)
            rows = [row for found in service.find({"name": run_id}) for row in found.rows]
            sent = max((row["epoch"] for row in rows), default=0)
        for report in context.earlier:
            trial.log(report, is_sent=report.epoch <= sent)
        return trial

    def publish(self, summary: SweepSummary) -> None:
        """Write the summary run, `<uid>-sweep`, the winner's weights and the exported model."""
        with self._replaced(summary, "sweep", {"space": summary.space}) as run:
            run.summary["leaderboard"] = table(*summary.table())
            run.summary["progress"] = table(*summary.progress())
            run.summary.update(summary.values())
            if self._is_online:  # else `thaw wandb publish` adds them: drawing takes seconds, and a sweep waits
                log_figures(run, page_panels(summary))
        if summary.winner is not None and summary.files is not None:
            self._publish_models(summary, summary.winner, summary.files)
        self.check()

    def publish_figures(self, summary: SweepSummary) -> None:
        """Write the figures of the run's page to the summary run, and nothing else."""
        with self._open_summary(summary, "sweep", {"space": summary.space}) as run:
            log_figures(run, page_panels(summary))
        self.check()

    def add_files(self, run: Any, context: TrialContext) -> None:
        """Add to the open run of a finished trial its scores by class, and its weights where they are kept."""
        if context.files is None:
            return
        run.summary.update(class_tables(context.run, context.files))
        if self._settings.log_model == "all":
            weights = weights_artifact(context.run, context.files, context.sweep.group, context.name)
            if weights is not None:
                run.log_artifact(weights, aliases=[context.name])

    def alert(self, sweep: SweepIdentity, run: RunFolder, texts: Mapping[str, str]) -> None:
        """Send an alert (`title`, `text`, `level`) from a run of its own in the sweep's group."""
        # The id of an older version was random.
        settings = {} if sweep.uid is None else {"id": sweep.id_of("end")}
        with self._open(sweep, run, f"{sweep.name}-end", job_type="sweep", **settings) as opened:
            opened.alert(**texts)
        self.check()

    def _publish_models(self, summary: SweepSummary, winner: TrialResult, files: TrialFiles) -> None:
        """Keep the winner's weights, and the exported model with the trial from which it comes."""

        def source() -> Any:
            kept = self._settings.log_model != "none"
            weights = weights_artifact(summary.run, files, summary.sweep.group, winner.trial_id) if kept else None
            return record_artifact(summary.sweep.group, winner) if weights is None else weights

        model = model_artifact(summary)
        is_exported = model is not None and summary.exported == winner.trial_id
        if self._settings.log_model != "none" or is_exported:
            context = TrialContext(
                summary.sweep, summary.run, winner.trial_id, "trial", winner.config, winner.parameters
            )
            with self._open_trial(context, winner.status) as run:
                run.log_artifact(source(), aliases=[winner.trial_id, "winner"])
        if model is not None:
            with self._replaced(summary, "export", {"trial": summary.exported}) as run:
                if is_exported and self._is_online:  # the lineage; offline the client refuses it
                    run.use_artifact(source())
                run.log_artifact(model, aliases=["winner", *([summary.sweep.uid] if summary.sweep.uid else [])])
                run.summary.update(model.metadata)

    @contextmanager
    def _replaced(self, summary: SweepSummary, name: JobType, config: Mapping[str, Any]) -> Iterator[Any]:
        """Open a run that sums up the sweep, in place of one that was recorded offline and not sent yet."""
        _discard(summary.run, [summary.sweep.id_of(name)])
        with self._open_summary(summary, name, config) as run:
            yield run

    def _open_summary(self, summary: SweepSummary, name: JobType, config: Mapping[str, Any]) -> Any:
        # In the group of the search, whose own summary is told from this one by its kind.
        job = name if summary.sweep.confirms is None else summary.sweep.job
        settings = {"id": summary.sweep.id_of(name), "job_type": job, "config": dict(config)}
        return self._open(summary.sweep, summary.run, job, **settings)

    def _open_trial(self, context: TrialContext, status: Status | None = None) -> Any:
        run = self._open(
            context.sweep,
            context.run,
            context.name,
            id=context.sweep.id_of(context.name),
            job_type=context.job_type,
            config={**flat_config(context.config), "searched": ", ".join(context.parameters)},
            tags=trial_tags(context.config, status),
        )
        # The summary has the values of the best epoch, whose weights are kept, not those of the last one.
        run.define_metric("*", step_metric="epoch", summary="none")
        return run

    def _open(self, sweep: SweepIdentity, run: RunFolder, name: str, **settings: Any) -> Any:
        import wandb  # takes half a second, which a sweep without W&B avoids

        # `wandb.init` imports it too, but from so deep a stack that it takes twice as long: for each of its models,
        # pydantic looks through all loaded modules, once per frame of the stack that is an import.
        import wandb.apis.public

        online = self._is_online
        # Otherwise its login prints a greeting on the terminal of the sweep. Online it has a process of its own, whose
        # messages are read there.
        wandb.setup(wandb.Settings(silent=not online, quiet=False))
        run.local.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            entity=self._settings.entity,
            project=self._settings.project,
            group=sweep.group,
            name=name,
            dir=str(run.local),
            mode="online" if online else "offline",
            resume="allow" if online else None,
            reinit="create_new",  # several trials are open at once
            settings=wandb.Settings(
                console="off",
                silent=not online,
                quiet=False,  # CLIENT has signs that are read in its output
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                # The list of installed packages takes half a second to collect; run.json has the versions that matter.
                x_save_requirements=False,
                symlink=False,  # to the latest run: several are open at once
                init_timeout=self._seconds,
                finish_timeout=self._upload_seconds,
                finish_timeout_raises=True,
            ),
            **settings,
        )

    @property
    def _is_online(self) -> bool:
        return resolve_mode(self._settings) == "online"

    def check(self) -> None:
        """Raise an error where the service does not give a proper answer.

        The client takes any answer with status 200 for a success, also the page of a hotel's network.
        """
        if self._is_online:
            import wandb

            if wandb.Api(timeout=math.ceil(self._seconds)).viewer is None:
                raise ConnectionError("the key belongs to no user")


class WandbTrial:
    """WandbTrial: one trial in W&B."""

    def __init__(self, run: Any, context: TrialContext, tracker: WandbTracker) -> None:
        """Keep the open run of the trial."""
        self._run = run
        self._context = context
        self._tracker = tracker
        self._best: EpochReport | None = None
        self._summed_up = time.monotonic()

    def log(self, report: EpochReport, *, is_sent: bool = False) -> None:
        """Send the metrics of an epoch, under its own number, unless the service has them."""
        if not is_sent:
            # Committed at once: otherwise a row is held until the next one, and is lost when the driver is killed.
            self._run.log(epoch_values(report), step=report.epoch, commit=True)
        reports = [report] if self._best is None else [self._best, report]
        self._best = best_report(reports, self._context.config.objective)
        # Written at the end in any case; after each epoch it would be a sixth of what the client takes.
        if self._best is not None and time.monotonic() - self._summed_up >= CLIENT_PAUSE_SECONDS:
            self._run.summary.update(epoch_values(self._best))
            self._summed_up = time.monotonic()

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        """Close the run with its status as a tag, and with the scores by class of its best epoch."""
        run, best = self._run, {} if self._best is None else epoch_values(self._best)
        run.tags = trial_tags(self._context.config, status)
        others = {name: value for name, value in summary.items() if not name.startswith("best/")}
        run.summary.update({"status": status.value, **best, **others})
        if not status.unfinished:
            self._tracker.add_files(run, self._context)
        run.finish(exit_code=0 if status in (Status.COMPLETED, Status.PRUNED) else 1)
        self._tracker.check()


def _discard(run: RunFolder, run_ids: Iterable[str]) -> None:
    """Delete what was recorded offline and not sent: it is recorded again. The client names folders by the second."""
    for run_id in run_ids:
        for file in unsent_files(run, run_id):
            shutil.rmtree(file.parent)


def trial_tags(config: TrialConfig, status: Status | None = None) -> tuple[str, ...]:
    """Return the tags of a trial; its status is the last, once it has ended."""
    family = config.architecture.split("_")[0].split(".")[0]
    return (family, config.strategy, f"balance-{config.balance}", *(() if status is None else (status.value,)))


def epoch_values(report: EpochReport) -> dict[str, float]:
    """Return the row of an epoch; the same values are the summary of a trial whose best epoch it is."""
    return {**report.metrics, "time/epoch_s": report.seconds, "epoch": report.epoch}
