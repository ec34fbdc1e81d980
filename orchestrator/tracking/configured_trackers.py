"""Trackers that a sweep file asks for."""

import importlib.util

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.wandb_tracker import WandbTracker, resolve_mode
from search_spaces.errors import InvalidInput


def make_trackers(tracking: Tracking) -> tuple[Tracker, ...]:
    """Make the trackers that are switched on; none of them imports its client or opens anything yet."""
    trackers: list[Tracker] = []
    if resolve_mode(tracking.wandb) != "disabled":
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


def publish_summary(run: RunFolder, tracking: Tracking) -> None:
    """Publish the state of a run to its trackers, outside of a sweep."""
    trackers = make_trackers(tracking)
    if trackers:
        summary = SweepSummary.from_run(run)
        with Dispatcher(trackers, summary.sweep, run.local) as dispatcher:
            dispatcher.publish(lambda: summary)
