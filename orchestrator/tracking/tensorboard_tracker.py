"""TensorBoard: event files with the curves of every trial, its hyperparameters and its status."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.text_tables import markdown_table
from orchestrator.spec.sections import TensorBoard
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import TrialContext
from trainables.result import EpochReport
from trainables.status import Status

FLUSH_SECONDS = 10


class TensorBoardTracker:
    """TensorBoardTracker: one folder of event files per trial, and the folder `sweep` with the leaderboard as text."""

    name = "TensorBoard"

    def __init__(self, settings: TensorBoard) -> None:
        self._settings = settings

    def start(self, context: TrialContext) -> "TensorBoardTrial":
        """Open a new event file in the folder of the trial."""
        return TensorBoardTrial(self._folder(context.sweep.name, context.folder) / context.name, context)

    def publish(self, summary: SweepSummary) -> None:
        """Replace the folder `sweep`."""
        folder = self._folder(summary.sweep.name, summary.folder) / "sweep"
        shutil.rmtree(folder, ignore_errors=True)
        writer = _open_writer(folder)
        writer.add_text("leaderboard", markdown_table(*summary.table()))
        writer.add_text("sweep", markdown_table(["name", "value"], [[*pair] for pair in summary.values().items()]))
        writer.close()

    def _folder(self, sweep: str, run: Path) -> Path:
        return run / "tensorboard" if self._settings.folder is None else self._settings.folder / sweep


class TensorBoardTrial:
    """TensorBoardTrial: one trial in TensorBoard; every step is an epoch."""

    def __init__(self, folder: Path, context: TrialContext) -> None:
        self._parameters = context.parameters
        self._epoch = 0
        # An earlier driver may have been killed before all its values were written: they are hidden, and written again.
        self._writer = _open_writer(folder, purge_step=1)
        for report in context.earlier:
            self.log(report)

    def log(self, report: EpochReport) -> None:
        """Write the metrics of an epoch as scalars."""
        self._epoch = report.epoch
        for name, value in {**report.metrics, "time/epoch_s": report.seconds}.items():
            self._writer.add_scalar(name, value, report.epoch)

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        """Write the status as text and, where the trial has ended for good, its line of the hparams dashboard."""
        self._writer.add_text("status", status.value, self._epoch)
        if not status.unfinished:
            self._write_hparams(summary)
        self._writer.close()

    def _write_hparams(self, summary: Mapping[str, float]) -> None:
        """Write the data of `add_hparams`, but to the trial's own folder; `add_hparams` would make a second run."""
        from tensorboardX.summary import hparams

        for part in hparams(dict(self._parameters), dict(summary)):
            self._writer.file_writer.add_summary(part)
        for name, value in summary.items():
            self._writer.add_scalar(name, value, self._epoch)


def _open_writer(folder: Path, purge_step: int | None = None) -> Any:
    """Open a new event file in the folder; files of one second need different names."""
    from tensorboardX import SummaryWriter

    suffix = f".{len(list(folder.glob('events.*')))}"
    return SummaryWriter(str(folder), purge_step=purge_step, flush_secs=FLUSH_SECONDS, filename_suffix=suffix)
