import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.sections import Tracking
from orchestrator.tracking.configured_trackers import check_trackers, make_trackers
from orchestrator.tracking.isolated_tracker import IsolatedTracker
from orchestrator.tracking.wandb_tracker import WandbTracker
from search_spaces.errors import InvalidInput


def tracking(wandb: str = "offline", tensorboard: Any = "none") -> Tracking:
    return Tracking.model_validate({"wandb": {"mode": wandb}, "tensorboard": tensorboard})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (tracking(), ["W&B"]),
        (tracking("disabled"), []),
        (tracking("online", {}), ["W&B", "TensorBoard"]),
        (tracking("disabled", {"folder": "auto"}), ["TensorBoard"]),
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


def test_a_missing_package_is_named_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    check_trackers(tracking())
    with pytest.raises(InvalidInput, match=r"tracking.tensorboard: needs .*; install thaw\[tensorboard\], or set"):
        check_trackers(tracking(tensorboard={"folder": str(Path("boards"))}))
