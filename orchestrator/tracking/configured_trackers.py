"""Trackers that a sweep file asks for."""

import importlib.util
from collections.abc import Callable

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Mlflow, Tracking
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.isolated_tracker import CALL_SECONDS, HostedTracker, IsolatedTracker
from orchestrator.tracking.mlflow_tracker import (
    MlflowTracker,
    configured_client,
    is_service,
    outage_explainer,
    tracking_uri,
)
from orchestrator.tracking.observer import TrackerProblem
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.weights_biases.service import (
    CLIENT,
    REQUEST_SECONDS,
    check_address,
    explain_outage,
    resolve_mode,
)
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.errors import InvalidInput

UPLOAD_SECONDS = 300.0


def make_trackers(
    tracking: Tracking, call_seconds: float = CALL_SECONDS, request_seconds: float = REQUEST_SECONDS
) -> tuple[Tracker, ...]:
    """Make the trackers that are switched on; none of them imports its client or opens anything yet.

    A service is given up when a call takes longer than `call_seconds`, or a request of its client `request_seconds`.
    """
    trackers: list[Tracker] = []
    mode = resolve_mode(tracking.wandb)
    if mode == "online":
        # Weights take long on a slow line; the end of a sweep does not wait for them.
        uploading = 0.0 if tracking.wandb.log_model == "none" else UPLOAD_SECONDS
        service = WandbTracker(tracking.wandb, request_seconds, request_seconds + uploading)
        local = WandbTracker(tracking.wandb.model_copy(update={"mode": "offline"}))
        trackers.append(IsolatedTracker(service, local, explain_outage, CLIENT, call_seconds + uploading))
    elif mode == "offline":
        trackers.append(WandbTracker(tracking.wandb))
    if tracking.tensorboard is not None:
        trackers.append(TensorBoardTracker(tracking.tensorboard))
    if tracking.mlflow is not None:
        trackers.append(_make_mlflow(tracking.mlflow, call_seconds, request_seconds))
    return tuple(trackers)


def _make_mlflow(settings: Mlflow, call_seconds: float, request_seconds: float) -> Tracker:
    """Make the tracker of a server, with the folder of the run as its local one, or that of a folder.

    Both have a process of their own: the import takes a second, and the client writes to the terminal.
    """
    uri, client = tracking_uri(settings), configured_client(request_seconds)
    tracker = MlflowTracker(settings.experiment, uri)
    if uri is None or not is_service(uri):
        return HostedTracker(tracker, client, call_seconds)
    local = HostedTracker(MlflowTracker(settings.experiment, None), client, call_seconds)
    return IsolatedTracker(tracker, local, outage_explainer(uri), client, call_seconds)


def check_trackers(tracking: Tracking) -> None:
    """Raise InvalidInput when a tracker that is switched on lacks its package, or has an address of another kind."""
    for section, is_on, module, package in (
        ("tensorboard", tracking.tensorboard is not None, "tensorboardX", "tensorboardX"),
        ("mlflow", tracking.mlflow is not None, "mlflow", "mlflow-skinny"),
    ):
        if is_on and importlib.util.find_spec(module) is None:
            raise InvalidInput(
                f"tracking.{section}: needs the package {package}, which is not installed; "
                f"install thaw[{section}], or set tracking.{section}: none"
            )
    if tracking.mlflow is not None:
        tracking_uri(tracking.mlflow)
    if resolve_mode(tracking.wandb) == "online":
        check_address()


def publish_summary(
    run: RunFolder, tracking: Tracking, on_problem: Callable[[TrackerProblem], None] | None = None
) -> None:
    """Publish the state of a run to its trackers, outside of a sweep; `on_problem` as for a Dispatcher."""
    trackers = make_trackers(tracking)
    if trackers:
        summary = SweepSummary.from_run(run)
        with Dispatcher(trackers, summary.sweep, run, on_problem=on_problem) as dispatcher:
            dispatcher.publish(lambda: summary)
