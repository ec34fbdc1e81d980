"""Trackers that a sweep file asks for."""

import importlib.util
from collections.abc import Callable

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.isolated_tracker import CALL_SECONDS, IsolatedTracker
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.wandb_tracker import (
    REQUEST_SECONDS,
    SIGNS,
    WandbTracker,
    explain_outage,
    resolve_mode,
)
from search_spaces.errors import InvalidInput


def make_trackers(
    tracking: Tracking, call_seconds: float = CALL_SECONDS, request_seconds: float = REQUEST_SECONDS
) -> tuple[Tracker, ...]:
    """Make the trackers that are switched on; none of them imports its client or opens anything yet.

    A service is given up when a call takes longer than `call_seconds`, or a request of its client `request_seconds`.
    """
    trackers: list[Tracker] = []
    mode = resolve_mode(tracking.wandb)
    if mode == "online":
        service = WandbTracker(tracking.wandb, request_seconds)
        local = WandbTracker(tracking.wandb.model_copy(update={"mode": "offline"}))
        trackers.append(IsolatedTracker(service, local, explain_outage, call_seconds, SIGNS))
    elif mode == "offline":
        trackers.append(WandbTracker(tracking.wandb))
    if tracking.tensorboard is not None:
        trackers.append(TensorBoardTracker(tracking.tensorboard))
    return tuple(trackers)


def check_trackers(tracking: Tracking) -> None:
    """Raise InvalidInput when a tracker that is switched on needs a package that is not installed."""
    if tracking.tensorboard is not None and importlib.util.find_spec("tensorboardX") is None:
        raise InvalidInput(
            "tracking.tensorboard: needs the package tensorboardX, which is not installed; "
            "install thaw[tensorboard], or set tracking.tensorboard: none"
        )


def publish_summary(
    run: RunFolder, tracking: Tracking, on_problem: Callable[[TrackerProblem], None] | None = None
) -> None:
    """Publish the state of a run to its trackers, outside of a sweep; `on_problem` as for a Dispatcher."""
    trackers = make_trackers(tracking)
    if trackers:
        summary = SweepSummary.from_run(run)
        with Dispatcher(trackers, summary.sweep, run, on_problem=on_problem) as dispatcher:
            dispatcher.publish(lambda: summary)
