"""Dashboard: the pages of runs over HTTP, for browsers on this machine."""

import gzip
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import RedirectResponse
from plotly.offline import get_plotlyjs

from analysis.comparisons.comparison import compare_trials
from analysis.report.live_page import (
    PageLink,
    comparison_part,
    live_page,
    live_script,
    log_part,
    message_part,
)
from analysis.report.page import render_several
from orchestrator.serve.access_token import AccessToken
from orchestrator.serve.live_list import LiveList, key_of
from orchestrator.serve.live_part import Rendered
from orchestrator.serve.live_run import LiveRun
from orchestrator.serve.log_tail import log_tail
from orchestrator.serve.refresher import Lane, Refresher
from orchestrator.serve.run_control import resume_run, stop_run
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.shell import thaw_command

# Styles stand in the page, and Plotly sets some; scripts come from the server alone.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
# Another name in the header `Host` is one that a foreign page has pointed at this machine: DNS rebinding.
_HOSTS = ["127.0.0.1", "localhost"]


class Dashboard:
    """Dashboard: answers requests for pages of runs; with a token also those that stop and resume a run."""

    def __init__(self, runs: LiveList, refresher: Refresher, token: AccessToken | None) -> None:
        """Keep the runs, and the thread that reads them; without a token nothing can be changed."""
        self._runs = runs
        self._refresher = refresher
        self._token = token

    def app(self) -> FastAPI:
        """Return the application for a server."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        pages: dict[str, Callable[..., Response]] = {
            "/": self.front,
            "/part": self.front_part,
            "/compare": self.several,
            "/runs/{key}/": self.run,
            "/runs/{key}/part": self.run_part,
            "/runs/{key}/trials/{trial}": self.log,
            "/runs/{key}/trials/{trial}/part": self.log_part,
            "/runs/{key}/compare/{first}/{second}": self.comparison,
            "/live.js": self.script,
            "/plotly.js": self.library,
        }
        for path, page in pages.items():
            app.add_api_route(path, page, methods=["GET"])
        if self._token is not None:
            app.add_api_route("/runs/{key}/stop", self.stop, methods=["POST"])
            app.add_api_route("/runs/{key}/resume", self.resume, methods=["POST"])
        for refused in (404, 405, HTTPException, ThawError):
            app.add_exception_handler(refused, _refusal)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)
        return app

    def front(self) -> Response:
        """Return the page of all runs; a single run is all there is to show."""
        if self._runs.is_one_run:
            return RedirectResponse(f"/runs/{key_of(self._runs.root.name)}/")
        now = self._runs.part.current()
        return _page(live_page(f"Runs in {self._runs.root}", now.text, source="/part", tag=now.tag))

    def front_part(self, request: Request) -> Response:
        """Return the list of all runs, unless the page has it."""
        return _part(request, self._runs.part.current())

    def several(self) -> Response:
        """Return the page that compares all runs that can be read."""
        states = self._refresher.ask(Lane.FIRST, self._runs.states).result()
        runs = [state.data for state in states if state.data is not None]
        if not runs:
            raise HTTPException(404, f"There is no run in {self._runs.root} that can be read.")
        return _page(live_page("All runs", render_several(runs), up=PageLink("/", "All runs")))

    def run(self, key: str) -> Response:
        """Return the page of one run."""
        found = self._find(key)
        now = found.part.current()
        up = None if self._runs.is_one_run else PageLink("/", "All runs")
        can_control = self._token is not None
        page = live_page(found.place.name, now.text, source="part", tag=now.tag, up=up, can_control=can_control)
        return _page(page)

    def run_part(self, request: Request, key: str) -> Response:
        """Return what follows one run, unless the page has it."""
        return _part(request, self._find(key).part.current())

    def log(self, key: str, trial: str) -> Response:
        """Return the page with the log of a trial; `sweep` is that of the sweep itself."""
        now = self._log(self._find(key), trial)
        source = f"{trial}/part"
        return _page(live_page(f"Log {trial}", now.text, source=source, tag=now.tag, up=self._up(key)))

    def log_part(self, request: Request, key: str, trial: str) -> Response:
        """Return the log of a trial, unless the page has it."""
        return _part(request, self._log(self._find(key), trial))

    def comparison(self, key: str, first: str, second: str) -> Response:
        """Return the page that compares two trials of a run."""
        found = self._find(key)
        part = self._refresher.ask(Lane.FIRST, lambda: _compared(found, first, second)).result()
        return _page(live_page(f"{first} against {second}", part, up=self._up(key)))

    def script(self) -> Response:
        """Return the script of all pages."""
        return Response(live_script(), headers=_HEADERS, media_type="text/javascript")

    def library(self) -> Response:
        """Return Plotly, which a browser keeps for a day."""
        headers = {**_HEADERS, "Cache-Control": "private, max-age=86400", "Content-Encoding": "gzip"}
        return Response(_plotly(), headers=headers, media_type="text/javascript")

    def stop(self, request: Request, key: str) -> Response:
        """Stop a run; answers once its driver has ended."""
        self._authorize(request)
        return _sentence(stop_run(self._find(key).place))

    def resume(self, request: Request, key: str) -> Response:
        """Resume a run; answers once a process drives it."""
        self._authorize(request)
        return _sentence(resume_run(self._find(key).place))

    def _find(self, key: str) -> LiveRun:
        found = self._runs.run(key)
        if found is None:
            raise HTTPException(404, f"There is no run {key} in {self._runs.root}.")
        return found

    def _up(self, key: str) -> PageLink:
        return PageLink(f"/runs/{key}/", "The run")

    def _log(self, run: LiveRun, trial: str) -> Rendered:
        content, is_cut = log_tail(run.place, trial)
        words = [] if trial == "sweep" else [trial]
        title = "Log of the sweep" if trial == "sweep" else f"Log of trial {trial}"
        return Rendered.of(log_part(title, content, thaw_command("logs", run.place, *words), is_cut=is_cut))

    def _authorize(self, request: Request) -> None:
        """Raise HTTPException for a request of a foreign page, or without the token."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "The request must come from a page of this dashboard.")
        assert self._token is not None
        if not self._token.matches(request.headers.get("x-thaw-token")):
            raise HTTPException(401, "The token is not that of the dashboard.")


def _compared(run: LiveRun, first: str, second: str) -> str:
    state = run.watch.state()
    if state.data is None:
        raise InvalidInput(state.problem)
    found = compare_trials(state.data.run, state.data.board, first, second)
    return comparison_part(state.data.record.name, found)


def _page(text: str, status: int = 200) -> Response:
    return Response(_bytes(text), status, _HEADERS, "text/html; charset=utf-8")


def _part(request: Request, now: Rendered) -> Response:
    headers = {**_HEADERS, "ETag": now.tag}
    if request.headers.get("if-none-match") == now.tag:
        return Response(status_code=304, headers=headers)
    return Response(now.content, headers=headers, media_type="text/html; charset=utf-8")


def _sentence(text: str, status: int = 200) -> Response:
    return Response(_bytes(text), status, _HEADERS, "text/plain; charset=utf-8")


def _refusal(request: Request, error: Exception) -> Response:
    """Return the message of an error: as a page, or as text to the script that has sent a command."""
    status, text = 404, "There is no such page."
    if isinstance(error, HTTPException):
        status, text = error.status_code, error.detail
    elif isinstance(error, ThawError):
        status, text = 409 if request.method == "POST" else 404, str(error)
    if request.method == "POST":
        return _sentence(text, status)
    return _page(live_page("Not found", message_part("Not found", text), up=PageLink("/", "All runs")), status)


def _bytes(text: str) -> bytes:
    """Encode a page; a name on a disk may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace")


@cache
def _plotly() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), mtime=0)
