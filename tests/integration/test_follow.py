"""Reports of a sweep to machines and to people, from its start to its end; and files a user's folder may hold."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run as cli
from trainables.status import Status

pytestmark = pytest.mark.seconds(25)

Thaw = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Swept:
    """A sweep by a process of its own, told to machines."""

    folder: Path
    """Where it was started, a folder with packages named like ours."""

    ended: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def swept(thaw: Thaw, write_sweep: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    for name in ("search_spaces", "trainables", "analysis", "orchestrator", "torch", "ray"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('the user\\'s own {name}')\n")
    (folder / "timm.py").write_text("raise ImportError('the user\\'s own timm')\n")
    command = f'echo "$THAW_STATUS $THAW_BEST_TRIAL $THAW_RUN" > {folder / "told"}; echo no route to host; exit 3'
    tracking = {"wandb": {"mode": "disabled"}, "notify": {"command": command}}
    sweep = write_sweep(folder, search={"trials": 2}, tracking=tracking, stopping={"asha": {"grace": 2}})
    return Swept(folder, thaw("sweep", sweep.name, "--log-format", "json", cwd=folder))


def test_a_sweep_told_to_machines_is_json_alone_and_notifies_at_its_end(swept: Swept) -> None:
    result = swept.ended
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    events = [json.loads(line) for line in result.stderr.splitlines()]
    names = [event["event"] for event in events]
    assert sorted(names) == sorted(
        [*["warning"] * 3, "sweep_started", *["trial_started", "epoch", "epoch", "trial_ended"] * 2, "sweep_ended"]
    )
    assert names[:3] == ["warning", "warning", "sweep_started"]
    assert "look the same and lie in two splits" in events[0]["message"]
    assert "no trial of this sweep can be stopped early" in events[1]["message"]
    ended = events[-2]
    assert (ended["event"], ended["status"], ended["trials"]) == ("sweep_ended", "completed", {"COMPLETED": 2})
    assert "2 of 2 trials done, best val/macro_f1" in ended["message"]
    # The notification went out, what it came to is said, and the sweep is none the worse for it.
    assert (
        swept.folder / "told"
    ).read_text() == f"completed {ended['best']['trial_id']} {swept.folder / 'runs' / 'sweep'}\n"
    assert events[-1]["message"].endswith("must end with exit code 0, got 3: no route to host")


def test_a_sweep_from_a_folder_with_packages_named_like_ours(swept: Swept, thaw: Thaw) -> None:
    assert swept.ended.returncode == 0, swept.ended.stderr
    assert "the user's own" not in swept.ended.stderr
    run = RunFolder(swept.folder / "runs" / "sweep")
    assert [trial.status for trial in Ledger(run).trials()] == [Status.COMPLETED] * 2
    listed = thaw("leaderboard", "runs/sweep", "--format", "json", cwd=swept.folder)
    assert [entry["rank"] for entry in json.loads(listed.stdout)] == [1, 2]


def test_what_is_wrong_before_the_start_is_an_event_with_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["sweep", str(tmp_path / "none.yaml"), "--log-format", "json"]) == 2
    told = capsys.readouterr()
    (event,) = [json.loads(line) for line in told.err.splitlines()]
    assert (event["event"], event["exit_code"], told.out) == ("error", 2, "")
    assert "file must exist" in event["message"]


def test_silence_and_events_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["sweep", str(tmp_path / "none.yaml"), "--quiet", "--log-format", "json"]) == 2
    assert "--quiet must not be given with --log-format json" in " ".join(capsys.readouterr().err.split())
