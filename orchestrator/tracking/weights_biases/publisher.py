"""Publication of a run's pages to W&B: a saved workspace and a report, replaced by each later publication."""

import importlib.util
import json
import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from analysis.run_folder import RunFolder
from analysis.run_store import write_atomically
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.isolated_tracker import CALL_SECONDS, HostedObject
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.weights_biases.figures import page_panels
from orchestrator.tracking.weights_biases.service import (
    CLIENT,
    REQUEST_SECONDS,
    check_sending,
    service_address,
    service_errors,
)
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from search_spaces.user_files import RECORD
from trainables.storage.place import read_place

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

# A user waits for it, and the figures of thousands of trials are megabytes.
_UPLOAD_SECONDS = 120.0


@dataclass(frozen=True)
class PublishedPages:
    """PublishedPages: addresses of the pages of a run."""

    entity: str
    """User or team that owns the project."""

    project: str
    """Project of the pages."""

    group: str
    """Group of the trials that they show."""

    workspace: str
    """Address of the saved workspace."""

    report: str
    """Address of the report."""

    def to_json(self) -> dict[str, str]:
        """Return the addresses as a JSON-ready mapping."""
        return asdict(self)


def check_publishing() -> None:
    """Raise InvalidInput when pages cannot be published: W&B disabled, package missing, no key."""
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise InvalidInput(
            "thaw wandb publish: needs the package wandb-workspaces, which is not installed; install thaw[wandb]"
        )
    check_sending()


def publish_pages(run: RunFolder, settings: Wandb) -> PublishedPages:
    """Save the workspace and the report of a run in `settings.project`; replace those of an earlier call.

    Where thaw[report] is installed, the run with the summary gets the figures, and the report shows them.

    Raises InvalidInput where the project has no runs yet, ThawError when the service fails.
    """
    check_publishing()
    summary = SweepSummary.from_run(run)
    import wandb
    from wandb_workspaces._graphql import get_app_url

    from orchestrator.tracking.weights_biases import pages as wandb_pages

    with service_errors("try again later"):
        wandb.setup(wandb.Settings(silent=True))  # the package prints what it saves
        api = wandb.Api(timeout=math.ceil(REQUEST_SECONDS))
        owner = settings.entity or api.default_entity
        known = () if owner is None else tuple(project.name for project in api.projects(owner))
    if owner is None:
        raise InvalidInput("--entity: must be given where the key has no default entity, got none; give a user or team")
    if settings.project not in known:
        raise InvalidInput(
            f"--project: must be a project of {owner} with the runs of the sweep, got {settings.project}; "
            f"send them with `{thaw_command('wandb', 'sync', run.root)}`, or give another --project or --entity"
        )
    project = wandb_pages.PageProject(_without_login(get_app_url(api)), owner, settings.project)
    pages = _PageIds(run, f"{urlsplit(service_address()).hostname}/{owner}/{settings.project}")
    figures = page_panels(summary)
    workspace = wandb_pages.build_workspace(summary, project)
    report = wandb_pages.build_report(summary, project, {panel.name: panel.title for panel in figures})
    if figures:
        _send_figures(summary, settings)
    with service_errors(f"try again; if one of the pages is broken, delete {run.published} to save new ones"):
        _save_workspace(api, workspace, pages)
        _save_report(api, report, pages)
        addresses = [quote(_without_login(page.url), safe=":/?=&") for page in (workspace, report)]
    return PublishedPages(owner, settings.project, summary.sweep.group, *addresses)


def _send_figures(summary: SweepSummary, settings: Wandb) -> None:
    """Send the figures from a process of their own: the client writes to the terminal, and may hang."""
    online = settings.model_copy(update={"mode": "online"})
    host = HostedObject(WandbTracker(online, upload_seconds=_UPLOAD_SECONDS), CLIENT, CALL_SECONDS + _UPLOAD_SECONDS)
    try:
        with service_errors():
            host.call("publish_figures", summary)
            host.close(CALL_SECONDS)  # on a busy machine a process takes seconds to end
    finally:
        host.kill()


class _PageIds:
    """Ids of the pages of a run in one project, kept in the run.

    W&B has no key of ours for a page, and titles can be edited there: without the ids a second call would save a
    second page. They are kept in the run, not on the node, so that a copy of the run replaces the same pages.
    """

    def __init__(self, run: RunFolder, project: str) -> None:
        """Read the ids, and write them once: a run that cannot be written must not be published."""
        self._place = run.published
        self._all: dict[str, dict[str, list[str]]] = {}
        try:
            if self._place.is_file():
                self._all = json.loads(read_place(self._place, RECORD))
            self._own = self._all.setdefault(project, {})
        except (ValueError, AttributeError):
            raise InvalidInput(
                f"{self._place}: must hold the ids of published pages as JSON, got a damaged file; "
                "delete it to publish new pages"
            ) from None
        self._write()

    def find(self, page: str) -> list[str]:
        """Return the ids of a page; none before it was saved."""
        return self._own.get(page, [])

    def keep(self, page: str, *ids: str) -> None:
        """Keep the ids of a page at once: the next page may fail."""
        self._own[page] = list(ids)
        self._write()

    def _write(self) -> None:
        write_atomically(self._place, json.dumps(self._all, indent=1))


def _save_workspace(api: Any, workspace: "ws.Workspace", pages: _PageIds) -> None:
    found = pages.find("workspace")
    if found and _exists(api, found[0]):
        # The package sets these two when it loads a view from its address. Loading would also bring back the panels
        # that were edited there, and fails for those of a newer version.
        workspace._internal_id, workspace._internal_name = found
    workspace.save()
    pages.keep("workspace", workspace._internal_id, workspace._internal_name)


def _save_report(api: Any, report: "wr.Report", pages: _PageIds) -> None:
    found = pages.find("report")
    if found and _exists(api, found[0]):
        (report.id,) = found
    report.save()
    pages.keep("report", report.id)


def _without_login(address: str) -> str:
    """Return an address without the user and password that WANDB_BASE_URL may hold: others read the pages."""
    return re.sub(r"//[^/@\s]*@", "//", address)


def _exists(api: Any, view: str) -> bool:
    """Return whether a view, which may have been deleted in W&B, is still there."""
    from wandb_workspaces._graphql import execute_graphql
    from wandb_workspaces.reports.v2 import gql

    return execute_graphql(api, gql.view_report, {"reportId": view})["view"] is not None
