import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.sections import Tracking
from orchestrator.tracking.configured_trackers import check_trackers, make_trackers
from orchestrator.tracking.isolated_tracker import HostedTracker, IsolatedTracker
from orchestrator.tracking.tracker import OnlineTracker
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.errors import InvalidInput


def tracking(wandb: str = "offline", tensorboard: Any = "none", mlflow: Any = "none") -> Tracking:
    return Tracking.model_validate({"wandb": {"mode": wandb}, "tensorboard": tensorboard, "mlflow": mlflow})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (tracking(), ["W&B"]),
        (tracking("disabled"), []),
        (tracking("online", {}), ["W&B", "TensorBoard"]),
        (tracking("disabled", {"folder": "auto"}), ["TensorBoard"]),
        (tracking("disabled", {}, {"uri": "boards"}), ["TensorBoard", "MLflow"]),
    ],
)
def test_what_is_switched_on_is_made(settings: Tracking, names: list[str]) -> None:
    assert [tracker.name for tracker in make_trackers(settings)] == names
    check_trackers(settings)


def test_an_online_tracker_is_isolated_and_has_a_local_one() -> None:
    (tracker,) = make_trackers(tracking("online"))
    assert isinstance(tracker, IsolatedTracker)
    assert isinstance(tracker.local, WandbTracker)
    (offline,) = make_trackers(tracking("offline"))
    assert isinstance(offline, WandbTracker)


def test_a_server_of_mlflow_has_the_folder_of_the_run_as_its_local_tracker() -> None:
    (tracker,) = make_trackers(tracking("disabled", mlflow={"uri": "http://localhost:5000"}))
    assert isinstance(tracker, IsolatedTracker)
    assert isinstance(tracker.local, HostedTracker)
    (folder,) = make_trackers(tracking("disabled", mlflow={"uri": "boards"}))
    assert isinstance(folder, HostedTracker)
    assert not isinstance(folder, OnlineTracker)


def test_a_missing_package_is_named_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    check_trackers(tracking())
    with pytest.raises(InvalidInput, match=r"tracking.tensorboard: needs .*; install thaw\[tensorboard\], or set"):
        check_trackers(tracking(tensorboard={"folder": str(Path("boards"))}))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InvalidInput, match=r"tracking.mlflow: needs .*; install thaw\[mlflow\], or set"):
        check_trackers(tracking(mlflow={}))
