"""LiveView: a running sweep on the console: a live view on a terminal, one line per finished trial elsewhere."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.leaderboard import Leaderboard
from orchestrator.search.rungs import make_rungs
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.terminal.eta import EtaEstimator
from orchestrator.terminal.safe_console import safe_text
from orchestrator.terminal.tables import duration, short_text, status_text
from orchestrator.terminal.trial_table import trial_table
from orchestrator.tracking.observer import Observer, SweepStart, TrackerProblem
from search_spaces.space import parameters_text
from trainables.result import TrialResult
from trainables.status import Status

BEST = 5
# Lines of a terminal that are left to other parts than the trials.
_OTHERS = 10


class LiveView(Observer):
    """LiveView: live view of a sweep on a console; a context manager."""

    def __init__(
        self,
        console: Console,
        spec: SweepSpec,
        cluster_size: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Prepare the view; `cluster_size` returns the cluster's resources by Ray's names, empty without one."""
        self.console = console
        self.spec = spec
        self.trials: dict[str, TrialResult] = {}
        self.eta = EtaEstimator(spec.search.trials)
        # Rungs of our own, updated with the same trials as the scheduler's.
        self.rungs = make_rungs(spec.stopping, spec.corner_configs())
        self._cluster_size = cluster_size
        self.size: dict[str, float] = {}
        self.reason: str | None = None
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

    def on_start(self, start: SweepStart) -> None:
        """Show the trials of an earlier part of the run, without one line per trial."""
        self.trials = {trial.trial_id: trial for trial in start.known}
        self.eta.on_start(start)
        for trial in start.known:
            self._judge(trial)

    def on_trial(self, trial: TrialResult) -> None:
        """Show a change; a finished trial becomes a line of its own."""
        self.trials[trial.trial_id] = trial
        self.eta.on_trial(trial)
        self._judge(trial)
        # Called here and not in the thread that draws: Ray may be shutting down while it draws.
        self.size = self._cluster_size()
        if trial.status is not Status.RUNNING:
            self.console.print(self.line(trial), soft_wrap=True)

    def on_closing(self, reason: str) -> None:
        """Print the reason for which no more trials begin, and the epochs that the sweep waits for."""
        self.reason = reason
        self.console.print(f"{reason}: what runs ends its epoch first", markup=False, highlight=False, soft_wrap=True)

    def on_problem(self, problem: TrackerProblem) -> None:
        """Print the problem."""
        text = Text.assemble(("warning:", "bold yellow"), f" {problem.message}")
        self.console.print(text, highlight=False, soft_wrap=True)

    def line(self, trial: TrialResult) -> Text:
        """Return a finished trial in one line."""
        text = Text.assemble(f"trial {trial.trial_id}  ", status_text(trial.status), "  ")
        if trial.objective is not None and trial.best is not None:
            text.append(f"{self.spec.objective.metric} {trial.objective:.4f} at epoch {trial.best.epoch}")
            text.append(f" of {len(trial.reports)}, {trial.seconds:.1f} s  ")
        if trial.failure is not None:
            text.append(f"{trial.failure.message}  ", style="red")
        text.append(parameters_text(trial.parameters), style="dim")
        return text

    def render(self) -> RenderableType:
        """Return the state of the sweep: progress, resources, rungs, running trials, and the best so far."""
        trials = list(self.trials.values())
        running = [trial for trial in trials if trial.status is Status.RUNNING]
        board = Leaderboard.from_trials(self.spec.objective, trials)
        ranked = [entry for entry in board.entries if entry.rank is not None]
        parts = [self._head(trials), self._state(trials, running)]
        if self.rungs is not None and any(trial.reports for trial in trials):
            parts.append(self._rungs(trials))
        room = max(1, self.console.height - _OTHERS)
        best = min(len(ranked), BEST, room // 2)
        if running:
            parts.append(self._running(running, room - best))
        if best:
            parts += [Text(), trial_table(ranked[:best], self.spec.objective, self.console)]
        return Group(*parts)

    def _judge(self, trial: TrialResult) -> None:
        if self.rungs is not None:
            self.rungs.continues(trial)

    def _head(self, trials: list[TrialResult]) -> RenderableType:
        planned, done = self.spec.search.trials, sum(not trial.status.unfinished for trial in trials)
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True, overflow="ellipsis")
        head.add_column(ratio=1)
        head.add_column(no_wrap=True)
        remaining = self.eta.remaining()
        left = "" if remaining is None else f", about {_rough(remaining)} to go"
        if self.reason is not None:
            left = ", ending"
        times = f"{done} of {planned} trials, {_clock(self.eta.elapsed)}{left}"
        bar = ProgressBar(total=planned, completed=done)
        head.add_row(Text(self.spec.name, style="bold"), bar, times)
        return head

    def _state(self, trials: list[TrialResult], running: list[TrialResult]) -> Text:
        """Return the running trials, their resources, and the best trial so far, completed or not."""
        if not trials:
            return Text("starting Ray")
        each, workers = self.spec.resources, self.spec.resources.workers
        parts = [f"{len(running)} running"]
        for name, label, share in (("CPU", "cores", each.cpus_per_worker), ("GPU", "GPUs", each.gpus_per_worker)):
            if share and name in self.size:
                parts.append(f"{len(running) * share * workers:g} of {self.size[name]:g} {label}")
        if not any(trial.reports for trial in trials) and self.reason is None:
            parts.append("workers are starting")
        text = Text(", ".join(parts))
        best = _best_trial(trials)
        if best is not None and best.best is not None:
            text.append(f"; best {self.spec.objective.metric} ")
            text.append(f"{best.objective:.4f}", style="bold green")
            text.append(f" (trial {best.trial_id}, epoch {best.best.epoch})")
        return text

    def _rungs(self, trials: list[TrialResult]) -> Text:
        """Return, for each rung, the number of trials judged, stopped, and passed unjudged."""
        assert self.rungs is not None
        texts = []
        for rung, values in self.rungs.values.items():
            passed = self.rungs.passed[rung]
            stopped = sum(
                trial.status is Status.PRUNED and len(trial.reports) == passed.get(trial.trial_id) for trial in trials
            )
            free = len(passed.keys() - values.keys())
            counts = {"judged": len(values), "stopped": stopped, "exempt": free}
            shown = [f"{count} {name}" for name, count in counts.items() if count or name == "judged"]
            texts.append(f"rung {rung}: {', '.join(shown)}")
        return Text("   ".join(texts))

    def _running(self, running: list[TrialResult], room: int) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        for column in ("running", "epoch", self.spec.objective.metric):
            table.add_column(column, no_wrap=True, width=max(len(column), 7))
        table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
        shown = running if len(running) <= room else running[: max(1, room - 1)]
        for trial in shown:
            objective = "" if trial.objective is None else f"{trial.objective:.4f}"
            epoch = f"{len(trial.reports)}/{trial.config.epochs}"
            table.add_row(trial.trial_id, epoch, objective, safe_text(short_text(trial.parameters)))
        more = len(running) - len(shown)
        return Group(table, Text(f"and {more} more", style="dim")) if more else table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _rough(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{max(1, round(seconds))} s"


def _best_trial(trials: Sequence[TrialResult]) -> TrialResult | None:
    best: TrialResult | None = None
    for trial in trials:
        if trial.objective is None:
            continue
        if best is None or best.objective is None or trial.config.objective.better(trial.objective, best.objective):
            best = trial
    return best
