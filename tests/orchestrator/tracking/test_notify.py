import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_wandb import FakeWandb

from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking import notify as module
from orchestrator.tracking.notify import Notifier, notify, send_alert
from orchestrator.tracking.observer import SweepEnding, TrackerProblem
from trainables.result import TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
VARIABLES = ("NAME", "RUN", "STATUS", "MESSAGE", "METRIC", "BEST", "BEST_TRIAL", "BEST_EPOCH")


@pytest.fixture
def ending(trial: Trial, tmp_path: Path) -> SweepEnding:
    best = trial("0003", [0.5, 0.75], Status.COMPLETED)
    return SweepEnding("trash", tmp_path, "completed", "4 of 4 trials done", (best,), best)


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def told(ending: SweepEnding, **settings: Any) -> list[str]:
    return list(notify(Tracking.model_validate({"notify": settings}), ending))


def test_a_command_finds_the_outcome_in_its_environment(ending: SweepEnding, tmp_path: Path) -> None:
    file = tmp_path / "told"
    line = "|".join(f"$THAW_{name}" for name in VARIABLES)
    assert told(ending, command=f'echo "{line}" > {file}') == []
    assert file.read_text() == f"trash|{tmp_path}|completed|4 of 4 trials done|val/macro_f1|0.75|0003|2\n"


def test_without_a_completed_trial_those_of_the_best_are_empty(tmp_path: Path) -> None:
    ending = SweepEnding("trash", tmp_path, "failed", "no trial completed", (), None)
    file = tmp_path / "told"
    assert told(ending, command=f'echo "$THAW_STATUS|$THAW_BEST|$THAW_BEST_TRIAL" > {file}') == []
    assert file.read_text() == "failed||\n"


def test_a_secret_of_the_environment_reaches_the_command(
    ending: SweepEnding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_URL", "https://hooks/secret")
    assert told(ending, command=f'echo "$SLACK_URL" > {tmp_path / "told"}') == []
    assert (tmp_path / "told").read_text() == "https://hooks/secret\n"


def test_a_command_that_fails_is_said_with_its_last_words(ending: SweepEnding) -> None:
    (problem,) = told(ending, command="echo first >&2; echo no route to host >&2; exit 7")
    assert problem == "tracking.notify.command: must end with exit code 0, got 7: no route to host"
    (silent,) = told(ending, command="exit 1")
    assert silent.endswith("got 1: it said nothing")


def test_a_command_that_hangs_is_ended(ending: SweepEnding) -> None:
    began = time.monotonic()
    tracking = Tracking.model_validate({"notify": {"command": "sleep 30; true"}})
    (problem,) = notify(tracking, ending, 0.2)
    assert problem == "tracking.notify.command: must end within 0.2 s, but did not, and was ended"
    assert time.monotonic() - began < 10


def test_an_alert_needs_a_key(ending: SweepEnding) -> None:
    (problem,) = told(ending, wandb_alert=True)
    assert problem.startswith("tracking.notify.wandb_alert: needs W&B to be online, got offline; set WANDB_API_KEY")


def test_an_alert_that_cannot_be_sent_is_said(ending: SweepEnding, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_arguments: object) -> None:
        raise ConnectionError("api.wandb.ai is down")

    monkeypatch.setattr(module, "send_alert", unreachable)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    (problem,) = told(ending, wandb_alert=True)
    assert problem == "tracking.notify.wandb_alert: https://api.wandb.ai failed (api.wandb.ai is down)"


def test_an_alert_is_a_record_of_a_run_in_the_sweep_s_group(
    ending: SweepEnding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    send_alert(Wandb(mode="offline"), ending)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 10
    while b"4 of 4 trials done" not in (written := file.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for text in (b"trash: completed", b"4 of 4 trials done", b"INFO", b"trash-end"):
        assert text in written, text


@pytest.mark.parametrize("fault", ["hang", "500"])
def test_an_alert_waits_no_longer_than_the_command(
    ending: SweepEnding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with FakeWandb(fault, "init") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        tracking = Tracking.model_validate({"notify": {"command": "sleep 30", "wandb_alert": True}})
        began = time.monotonic()
        alert, command = notify(tracking, ending, 6.0)
        assert time.monotonic() - began < 10
    assert alert.startswith(f"tracking.notify.wandb_alert: {fake.url} does not answer (no answer before the end")
    assert command == "tracking.notify.command: must end within 6 s, but did not, and was ended"


def test_no_alert_is_sent_to_a_service_that_is_lost(
    ending: SweepEnding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    problems: list[str] = []
    notifier = Notifier(Tracking.model_validate({"notify": {"wandb_alert": True}}), problems.append)
    notifier.on_problem(TrackerProblem("W&B", "does not answer"))
    notifier.on_close(ending)
    assert problems == []
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


def test_nobody_is_told_where_nothing_is_set(ending: SweepEnding) -> None:
    assert told(ending) == []


def test_the_end_that_a_user_asked_for_is_no_news(ending: SweepEnding, tmp_path: Path) -> None:
    problems: list[str] = []
    notifier = Notifier(
        Tracking.model_validate({"notify": {"command": f"echo x >> {tmp_path / 'told'}; exit 3"}}), problems.append
    )
    notifier.on_close(replace(ending, status="interrupted"))
    assert not (tmp_path / "told").exists()
    notifier.on_close(ending)
    assert (tmp_path / "told").read_text() == "x\n"
    assert problems == ["tracking.notify.command: must end with exit code 0, got 3: it said nothing"]
