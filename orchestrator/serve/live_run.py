"""LiveRun: the page of one run, drawn again where its records have changed."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from analysis.report import progress
from analysis.report.live_page import broken_part, run_part
from analysis.report.panel import Panel, RunData
from analysis.report.panels import PANELS
from orchestrator.serve.live_part import LivePart
from orchestrator.serve.refresher import Lane, Refresher
from orchestrator.serve.run_watch import RunState, RunWatch
from trainables.storage.place import Place

PanelMaker = Callable[[RunData], Panel | None]

# Drawn with every change; the others follow when their lane is due.
_QUICK: Sequence[PanelMaker] = (progress.curves,)


class LiveRun:
    """LiveRun: the newest state of a run, and the part of its page that shows it."""

    def __init__(self, place: Place, refresher: Refresher) -> None:
        self.place = place
        self.watch = RunWatch(place)
        self.part = LivePart(refresher, self._renew)
        self._refresher = refresher
        self._shown: RunState | None = None
        self._panels: dict[PanelMaker, Panel | None] = {}
        self._others: Future[None] | None = None
        self._text = ""

    def _renew(self) -> str:
        state = self.watch.state()
        if state is self._shown:
            return self._text
        is_first = self._shown is None
        self._draw(state, PANELS if is_first else _QUICK)
        if not is_first and (self._others is None or self._others.done()):
            self._others = self._refresher.ask(Lane.SLOW, self._draw_all)
        return self._text

    def _draw_all(self) -> None:
        if self._shown is not None:
            self._draw(self._shown, PANELS)
            self.part.put(self._text)

    def _draw(self, state: RunState, makers: Sequence[PanelMaker]) -> None:
        if state.data is None:
            self._panels.clear()
            self._text = broken_part(state.problem)
        else:
            self._panels |= {make: make(state.data) for make in makers}
            shown = [panel for make in PANELS if (panel := self._panels.get(make)) is not None]
            self._text = run_part(state.data, shown, state.driver, state.problem)
        self._shown = state
