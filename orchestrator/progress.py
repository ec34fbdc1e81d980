"""What a person sees of a running sweep: a live table on a terminal, one line a finished trial elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Leaderboard
from orchestrator.tables import parameters_text, status_text, trial_table
from trainables.config import Objective
from trainables.result import Status, TrialResult


class Progress(Protocol):
    """Told of every change of a trial."""

    def __call__(self, trial: TrialResult) -> None:
        """A trial has begun, completed an epoch, or ended."""


def silent(trial: TrialResult) -> None:
    """Show nothing."""


class SweepProgress:
    """Live view of a sweep on a console; a context manager."""

    def __init__(self, console: Console, name: str, objective: Objective, planned: int) -> None:
        self.console = console
        self.name = name
        self.objective = objective
        self.planned = planned
        self.started = time.monotonic()
        self.trials: dict[str, TrialResult] = {}
        self.live = Live(console=console, get_renderable=self.render, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def known(self, trials: list[TrialResult]) -> None:
        """Take in trials of an earlier part of the run, without announcing them."""
        self.trials.update({trial.trial_id: trial for trial in trials})

    def __call__(self, trial: TrialResult) -> None:
        """Note a change; a finished trial becomes a line of its own."""
        self.trials[trial.trial_id] = trial
        if trial.status is not Status.RUNNING:
            self.console.print(self.line(trial), soft_wrap=True)

    def line(self, trial: TrialResult) -> Text:
        """A finished trial in one line."""
        text = Text.assemble(f"trial {trial.trial_id}  ", status_text(trial.status), "  ")
        if trial.objective is not None and trial.best is not None:
            text.append(f"{self.objective.metric} {trial.objective:.4f} at epoch {trial.best.epoch}")
            text.append(f" of {len(trial.reports)}, {trial.seconds:.1f} s  ")
        if trial.failure is not None:
            text.append(f"{trial.failure.message}  ", style="red")
        text.append(parameters_text(trial.parameters), style="dim")
        return text

    def render(self) -> RenderableType:
        """The state of the sweep as a header and a table of running and best trials."""
        trials = list(self.trials.values())
        board = Leaderboard.from_trials(self.objective, trials)
        done = sum(not trial.status.unfinished for trial in trials)
        running = [trial for trial in trials if trial.status is Status.RUNNING]
        header = Text(f"{self.name}: {done} of {self.planned} trials done, {len(running)} running")
        if board.entries and board.entries[0].objective is not None:
            header.append(f", best {self.objective.metric} {board.entries[0].objective:.4f}")
        elapsed = time.monotonic() - self.started
        header.append(f", {_clock(elapsed)} elapsed")
        if not trials:
            header.append("; starting Ray")
        elif not any(trial.reports for trial in trials):
            header.append("; workers are starting")
        table = Table(box=None, pad_edge=False)
        for column in ("running", "epoch", self.objective.metric):
            table.add_column(column, no_wrap=True, min_width=len(column))
        table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
        for trial in running:
            objective = "" if trial.objective is None else f"{trial.objective:.4f}"
            epoch = f"{len(trial.reports)}/{trial.config.epochs}"
            table.add_row(trial.trial_id, epoch, objective, Text(parameters_text(trial.parameters)))
        ranked = [entry for entry in board.entries if entry.rank is not None][:5]
        return (
            Group(header, table, trial_table(ranked, self.objective, self.console)) if ranked else Group(header, table)
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
