"""Panel: one section of a page, with the sentence that says what to see in it, and the run's data that panels read."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import plotly.graph_objects as go

from analysis.class_scores import ClassScores, class_scores
from analysis.comparisons.confirmation import Confirmation, read_confirmation
from analysis.heartbeat import seems_alive
from analysis.leaderboard import Entry, Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore
from analysis.winner import retrain_record, run_winner, stale_export_remark
from search_spaces.errors import InvalidInput
from search_spaces.space import SearchSpace
from trainables.config import STRATEGY_PARAMETERS
from trainables.status import Status
from trainables.storage.place import Place, as_place

# Okabe and Ito 2008, Color Universal Design: told apart by people with any kind of color vision.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B5A642")

STATUS_COLORS = {
    Status.COMPLETED: "#0072B2",
    Status.RUNNING: "#56B4E9",
    Status.PRUNED: "#E69F00",
    Status.INTERRUPTED: "#7F7F7F",
    Status.PRUNED_OOM: "#D55E00",
    Status.TIMED_OUT: "#CC79A7",
    Status.FAILED: "#B22222",
}

_STRATEGIES: list[object] = [*STRATEGY_PARAMETERS]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Table:
    """Table: numbers to be read one by one."""

    columns: tuple[tuple[str, str], ...]
    """Name of each column, and how its numbers are written, as in `format`."""

    rows: tuple[tuple[str | int | float | None, ...], ...]
    """Values of each row, None where there is none."""


@dataclass(frozen=True)
class Photo:
    """Photo: an image of the data, small."""

    path: str
    """Name of the image in its data set."""

    caption: str
    """Words under the image."""

    jpeg: bytes | None
    """JPEG; None where the image is not at hand, as for a run that was copied without its data."""


@dataclass(frozen=True)
class Panel:
    """Panel: one section of a page on a run."""

    name: str
    """Name of the section, e.g. `curves`."""

    title: str
    """Subject of the section."""

    note: str
    """Sentence on the point to look at."""

    content: go.Figure | Table | tuple[Photo, ...]
    """Figure, as notebooks get it, or table, or photos."""

    picture: str = ""
    """Address of an image of the figure, for readers without scripts; empty where scripts draw it at once."""


@dataclass(frozen=True)
class RunData:
    """RunData: what the panels read of a run, from its records alone."""

    run: RunFolder
    """Run."""

    record: RunRecord
    """Facts that all its trials share."""

    board: Leaderboard
    """Its trials, best first."""

    is_driven: bool = False
    """True while a driver is at work on the run."""

    @classmethod
    def of(cls, run: RunFolder | Place | str) -> "RunData":
        """Read a run. Raises InvalidInput when there is none or a record cannot be used."""
        folder = run if isinstance(run, RunFolder) else open_run(as_place(run))
        record, board, is_driven = Ledger(folder).read_run(), Leaderboard.from_run(folder), seems_alive(folder.root)
        return cls(folder, record, board if is_driven else board.without_driver(), is_driven)

    @property
    def metric(self) -> str:
        """Name of the objective."""
        return self.board.objective.metric

    @property
    def is_rising(self) -> bool:
        """True where a larger objective is better."""
        return self.board.objective.mode == "max"

    @property
    def judged(self) -> list[Entry]:
        """Entries that have an objective, best first."""
        return [entry for entry in self.board.entries if entry.objective is not None]

    @cached_property
    def space(self) -> SearchSpace | None:
        """Space of the search; None where it cannot be read, as in a run without one."""
        try:
            return SearchSpace.parse(self.record.space, self._fixed)
        except InvalidInput:
            return None

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """Finalists that were trained again; None before that, and where the records cannot be used."""
        try:
            return read_confirmation(self.run)
        except InvalidInput:  # `thaw confirm` says what is wrong with them
            return None

    @cached_property
    def winner(self) -> Entry | None:
        """Entry of the trial that the run hands on, see `run_winner`; None before one has completed."""
        try:
            named = run_winner(self.run).trial_id
        except InvalidInput:
            return next((entry for entry in self.board.entries if entry.rank == 1), None)
        return next((entry for entry in self.board.entries if entry.trial.trial_id == named), None)

    @cached_property
    def class_scores(self) -> ClassScores | None:
        """Scores by class of the winner; None without one, without its predictions, and for a task without classes."""
        winner = self.winner
        if winner is None:
            return None
        place = RunStore(self.run).newest(lambda layer: layer.predictions(winner.trial.trial_id))
        return class_scores(self.run, place)

    @cached_property
    def retrained(self) -> Mapping[str, Any] | None:
        """Record of the winner's retraining; None without one, and where it cannot be used."""
        try:
            return None if self.winner is None else retrain_record(self.run, self.winner.trial)
        except InvalidInput:  # the commands that need the record say what is wrong with it
            return None

    @cached_property
    def has_stale_export(self) -> bool:
        """True where the exported model is not that of the winner as it is now, or its record cannot be used."""
        try:
            return stale_export_remark(self.run) is not None
        except InvalidInput:  # `thaw export` names the fault
            return True

    @property
    def parameters(self) -> list[str]:
        """Names of the settings that were searched and vary."""
        names = dict.fromkeys(name for entry in self.judged for name in entry.trial.parameters)
        return [name for name in names if len({repr(entry.trial.parameters.get(name)) for entry in self.judged}) > 1]

    @property
    def _fixed(self) -> Mapping[str, Any]:
        if not self.board.entries:
            return {}
        config = self.board.entries[0].trial.config.to_json()
        return {name: value for name, value in config.items() if name not in self.record.space}


def plain(value: object) -> str:
    """Return a text that Plotly shows as it is: it reads tags, and a formula between dollar signs."""
    return _plain(str(value))


@lru_cache(10_000)  # names and values of settings recur in every figure
def _plain(text: str) -> str:
    return html.escape(printable(text), quote=False).replace("$", "&#36;")


def printable(text: str) -> str:
    """Return a text with a sign in place of each control character, which a browser would not show."""
    return _CONTROL.sub("\ufffd", text)


def figure(x: str, y: str, traces: Sequence[Any], **layout: Any) -> go.Figure:
    """Return a figure with axes of these titles, in the look that all share."""
    made = go.Figure(data=list(traces))
    made.update_layout(
        template="plotly_white",
        colorway=COLORS,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        height=420,
        hovermode="closest",
        xaxis_title=plain(x),
        yaxis_title=plain(y),
        legend={"orientation": "h", "y": -0.2},
    )
    return made.update_layout(**layout)


def color_of(value: object, values: Sequence[object]) -> str:
    """Return the color of one of several values; a strategy has the same in all figures."""
    order = _STRATEGIES if value in _STRATEGIES else list(values)
    return COLORS[order.index(value) % len(COLORS)]


def shortened(name: str, letters: int = 28) -> str:
    """Return a name whose middle is left out where it is long: names of classes often differ at their ends."""
    if len(name) <= letters:
        return name
    return f"{name[: letters // 2]}\u2026{name[-(letters - letters // 2 - 1) :]}"


def hover(entry: Entry) -> str:
    """Return the lines that a trial shows under the pointer."""
    settings = (f"{plain(name)}: {plain(value)}" for name, value in entry.trial.parameters.items())
    return "<br>".join([f"trial {plain(entry.trial.trial_id)} ({entry.trial.status})", *settings])
