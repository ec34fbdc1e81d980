"""Figures of a run's page in W&B: in the offline file that the client writes, and on a server on this machine."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from fake_wandb import FakeWandb
from report_runs import FIGURES, HOSTILE, SPACE, predicted, trial
from run_records import run_record
from tracker_files import wandb_records, wandb_values

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.weights_biases.figures import page_panels
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from trainables.status import Status

UID = "0123456789ab"
SHOWN = [f"figures/{name}" for name in (*FIGURES, "models")]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has all figures; a class of it has a hostile name."""
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    run = RunFolder(tmp_path / "run")
    run.trials.mkdir(parents=True)
    Ledger(run).write_run(run_record(space=SPACE, uid=UID))
    for number in range(24):
        Ledger(run).write_trial(trial(number))
    predicted(run, "0023", HOSTILE)
    return run


def published(run: RunFolder) -> tuple[list[str], dict[str, str]]:
    """Names in the summary run of an offline tracker, and the files of the figures by name."""
    tracker = WandbTracker(Wandb(mode="offline"))
    if page_panels(SweepSummary.from_run(run)):
        tracker.publish_figures(SweepSummary.from_run(run))
    else:
        tracker.publish(SweepSummary.from_run(run))
    (file,) = run.wandb.glob(f"offline-run-*-{UID}-sweep/*.wandb")
    records = wandb_records(file)
    summary = [name for each in records if each.HasField("summary") for name in wandb_values(each.summary.update)]
    row = {
        name: value
        for each in records
        if each.HasField("history")
        for name, value in wandb_values(each.history.item).items()
    }
    names = [name.removesuffix("/path") for name in row if name.endswith("/path")]
    assert {row[f"{name}/_type"] for name in names} <= {"plotly-file", "table-file"}
    return summary, {name: (file.parent / "files" / row[f"{name}/path"]).read_text() for name in names}


def test_a_sweep_shows_the_figures_of_its_page(run: RunFolder) -> None:
    _, figures = published(run)
    assert sorted(figures) == sorted(SHOWN)
    table = json.loads(figures["figures/models"])
    assert table["columns"][:2] == ["model", "strategy"]
    assert table["data"][0][:2] == ["vgg16", "progressive"]
    assert list(json.loads(figures["figures/curves"])) == ["data", "layout"]


def test_names_stay_text(run: RunFolder) -> None:
    _, figures = published(run)
    for name in ("figures/confusion", "figures/recall"):
        assert "&lt;b&gt;&amp;" in figures[name], "a long name is shortened in its middle"
        assert "<script" not in figures[name]


def test_without_plotly_all_else_is_published(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "plotly" else known(name, *rest)
    )
    assert page_panels(SweepSummary.from_run(run)) == []
    summary, figures = published(run)
    assert figures == {}
    assert {"leaderboard", "progress", "best/trial"} <= {*summary}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    wandb.teardown()  # the client keeps the address of the server before
    with FakeWandb() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        wandb.teardown()


def test_figures_are_sent_again_when_they_have_changed(run: RunFolder, fake: FakeWandb) -> None:
    tracker = WandbTracker(Wandb(mode="online"))
    sent = fake.runs[f"{UID}-sweep"]
    for _ in range(2):
        tracker.publish(SweepSummary.from_run(run))
    (row,) = sent.rows
    names = {name for name in row if name.startswith("figures/")}
    assert names == {*SHOWN}
    assert len([file for file in sent.files if file.startswith("media/plotly/figures/")]) == len(FIGURES)
    assert not any(file.endswith((".jpg", ".png")) for file in sent.files), "photos are not sent"
    Ledger(run).write_trial(trial(24, Status.PRUNED, epochs=1))
    tracker.publish_figures(SweepSummary.from_run(run))
    assert [row["_step"] for row in sent.rows] == [0, 1]
    assert {name for name in sent.rows[1] if name.startswith("figures/")} == names
