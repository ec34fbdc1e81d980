"""The real client against a server on loopback: what is missing is sent from the ledger once, and then all is equal."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from fake_wandb import FakeWandb

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run as cli
from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrialContext
from orchestrator.tracking.weights_biases.leaderboard import read_leaderboard
from orchestrator.tracking.weights_biases.sync import Gap, WandbSync, describe
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.documents import dump_yaml
from search_spaces.errors import InvalidInput
from trainables.result import TrialResult
from trainables.status import Status

pytestmark = pytest.mark.seconds(80)

Trial = Callable[..., TrialResult]
UID = "0123456789ab"


@pytest.fixture
def run(empty_run: RunFolder, trial: Trial) -> RunFolder:
    """A run with a trial of each kind of end."""
    ledger = Ledger(empty_run)
    ledger.update_run(uid=UID)
    ledger.write_trial(trial("0000", [0.5, 0.75, 0.625], Status.COMPLETED, {"lr": 0.01}))
    ledger.write_trial(trial("0001", [0.25], Status.PRUNED))
    ledger.write_trial(trial("0002", [], Status.FAILED))
    ledger.write_trial(trial("0003", [0.125, 0.25], Status.INTERRUPTED))
    return empty_run


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., FakeWandb]]:
    """Starts a server, and leads the client there; runs of `before` stand on it."""
    started: list[FakeWandb] = []
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))

    def start(before: FakeWandb | None = None, **how: Any) -> FakeWandb:
        wandb.teardown()  # the client keeps the address of the server before
        fake = FakeWandb(**how)
        started.append(fake)
        if before is not None:
            fake.runs.update(before.runs)
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        return fake

    yield start
    wandb.teardown()
    for fake in started:
        fake.__exit__()


def synced(run: RunFolder, **how: Any) -> tuple[list[str], list[str]]:
    """The lines of what was sent, and of what still differs."""
    told: list[str] = []
    left = WandbSync(run, Wandb()).send(told.append, **how)
    return told, describe(left)


def test_a_run_that_was_never_sent_arrives_whole_and_once(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    offline = [run.wandb / f"offline-run-1-{UID}-{name}" / f"run-{UID}-{name}.wandb" for name in ("0000", "0009")]
    for file in offline:
        file.parent.mkdir(parents=True)
        file.touch()
    assert [difference.gap for difference in WandbSync(run, Wandb()).differences()] == [Gap.MISSING] * 5
    told, left = synced(run)
    assert told == [
        *("0000: sent, 3 epochs of 3", "0001: sent, 1 epochs of 1", "0002: sent, 0 epochs of 0"),
        *("0003: sent, 2 epochs of 2", "sweep: summary sent"),
    ]
    assert left == []
    assert fake.runs.keys() == {f"{UID}-{name}" for name in ("0000", "0001", "0002", "0003", "sweep")}
    before = len([request for request in fake.requests if "file_stream" in request or "UpsertBucket" in request])
    assert synced(run) == ([], [])
    after = len([request for request in fake.requests if "file_stream" in request or "UpsertBucket" in request])
    assert after == before, "the second time nothing is sent"
    marked = [path.parent.name for path in run.wandb.glob("*/*.synced")]
    assert marked == [f"offline-run-1-{UID}-0000"], "trial 0009 is none of the run"


def test_the_rest_of_a_run_is_appended_and_its_end_made_up(
    run: RunFolder, trial: Trial, serve: Callable[..., FakeWandb]
) -> None:
    serve()
    ledger, final = Ledger(run), Ledger(run).read_trial("0000")
    ledger.write_trial(trial("0000", [0.5], Status.INTERRUPTED, {"lr": 0.01}))
    synced(run)
    ledger.write_trial(final)
    ledger.write_trial(trial("0001", [0.25], Status.COMPLETED))
    left = {difference.name: difference for difference in WandbSync(run, Wandb()).differences()}
    assert (left["0000"].gap, left["0001"].gap) == (Gap.SHORT, Gap.END)
    assert str(left["0000"]) == "0000: its last epochs are not in W&B: 1 of 3"
    assert str(left["0001"]) == "0001: its end is not in W&B: status, tag COMPLETED"
    told, differing = synced(run)
    assert told[:2] == ["0000: sent, 2 epochs of 3", "0001: sent, 0 epochs of 1"]
    assert differing == []


def test_what_cannot_be_repaired_is_named_and_replaced_only_on_request(
    run: RunFolder, trial: Trial, serve: Callable[..., FakeWandb]
) -> None:
    fake = serve()
    synced(run)
    Ledger(run).write_trial(trial("0000", [0.5, 0.7, 0.625], Status.COMPLETED, {"lr": 0.01}))
    told, left = synced(run)
    assert told == ["sweep: summary sent"]
    assert left == [
        "0000: its epochs in W&B are others, from row 2 on",
        "send runs that differ again under a new id, and tag the old ones, with: --replace",
    ]
    told, left = synced(run, again=True)
    assert (told, left) == (["0000: sent, 3 epochs of 3"], [])
    assert fake.runs[f"{UID}-0000"].fields["tags"][-1] == "superseded"
    assert [row["val/macro_f1"] for row in fake.runs[f"{UID}-0000-2"].rows] == [0.5, 0.7, 0.625]
    assert SweepIdentity.of(run).id_of("0000") == f"{UID}-0000-2", "a resumed sweep goes on there"
    assert synced(run, again=True) == ([], [])


@pytest.mark.soak
def test_a_deleted_id_is_gone(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    synced(run)
    fake.delete(f"{UID}-0001")
    told, left = synced(run)
    assert told[0].startswith("W&B: start failed")
    assert left == ["0001: it is not in W&B"]
    told, left = synced(run, again=True)
    assert (told[-1], left) == ("0001: sent, 1 epochs of 1", [])
    assert f"{UID}-0001-2" in fake.runs


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 10))])
def test_a_run_that_was_sent_in_half_is_made_equal(run: RunFolder, serve: Callable[..., FakeWandb], seed: int) -> None:
    broken = serve(cut_after=random.Random(seed).randrange(2_000, 60_000))
    with Dispatcher(make_trackers(Tracking(), 8.0, 2.0), SweepIdentity.of(run), run) as dispatcher:
        for result in Ledger(run).trials():
            dispatcher.on_trial(result)
        dispatcher.publish(lambda: SweepSummary.from_run(run))
    serve(before=broken)
    _, left = synced(run)
    assert left == []
    assert synced(run) == ([], [])


@pytest.mark.soak
def test_two_folders_with_one_sweep_name_do_not_meet(
    run: RunFolder, trial: Trial, serve: Callable[..., FakeWandb]
) -> None:
    fake = serve()
    synced(run)
    Ledger(run).update_run(uid="ba9876543210")
    assert len(synced(run)[0]) == 5
    assert {stored.fields["groupName"] for stored in fake.runs.values()} == {f"small-{UID}", "small-ba9876543210"}
    assert len(fake.runs) == 10


def test_what_users_add_is_no_difference(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    synced(run)
    fake.runs[f"{UID}-0000"].fields["tags"].append("my favorite")
    fake.runs[f"{UID}-0000"].summary["mine"] = 1
    assert synced(run) == ([], [])


def test_without_a_key_or_where_it_is_switched_off_nothing_is_sent(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="W&B: needs a key, found none"):
        WandbSync(run, Wandb())
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(InvalidInput, match=r"^\$WANDB_MODE: must not be disabled for .*; unset it"):
        WandbSync(run, Wandb())


def as_held(trial: TrialResult) -> dict[str, Any]:
    """A trial as W&B holds it: without the traceback, what ended its last epoch, and the names of its checkpoints."""
    values: dict[str, Any] = json.loads(trial.to_json())
    values.pop("failure", None)
    for report in values["reports"]:
        report.pop("ended_by", None)
        report.pop("checkpoint")
    return values


def test_a_leaderboard_is_read_back_equal(
    run: RunFolder, serve: Callable[..., FakeWandb], capsys: pytest.CaptureFixture[str]
) -> None:
    fake = serve()
    synced(run)
    stranger = fake.runs["stranger"]
    stranger.fields |= {"groupName": f"small-{UID}", "jobType": "trial", "displayName": "x"}
    board, theirs = Leaderboard.from_run(run), read_leaderboard(f"wandb:someone/thaw/small-{UID}")
    for ours, held in zip(board.entries, theirs.entries, strict=True):
        assert (held.rank, held.objective, held.epoch) == (ours.rank, ours.objective, ours.epoch)
        assert as_held(held.trial) == as_held(ours.trial)
    assert [problem.partition(", but")[0] for problem in theirs.problems] == [
        f"wandb:someone/thaw/small-{UID}: stranger: must be a trial of Thaw"
    ]
    assert cli(["leaderboard", f"wandb:someone/thaw/small-{UID}", "--format", "json"]) == 0
    assert [row["trial_id"] for row in json.loads(capsys.readouterr().out)] == [e.trial.trial_id for e in board.entries]


@pytest.mark.parametrize("address", ["wandb:", "wandb:a/b", "wandb:a//c", "wandb:someone/thaw/nothing"])
def test_an_address_without_trials_is_refused(
    address: str, serve: Callable[..., FakeWandb], capsys: pytest.CaptureFixture[str]
) -> None:
    serve()
    assert cli(["leaderboard", address]) == 2
    assert f"error: {address}: must be " in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("check", [True, False])
def test_the_command_says_what_differs(
    run: RunFolder, serve: Callable[..., FakeWandb], capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    fake = serve()
    trial = {"architecture": "resnet18", "strategy": "head", "epochs": 1}
    values = {"name": "small", "data": {"root": "/photos"}, "trial": trial, "space": {"lr": {"log": [0.1, 1]}}}
    (run.root / "sweep.yaml").write_text(dump_yaml(values))
    command = ["wandb", "sync", str(run.root), *(["--check"] if check else [])]
    assert cli(command) == (1 if check else 0)
    out = capsys.readouterr().out
    assert ("0000: it is not in W&B" in out) is check
    assert ("W&B is equal to the ledger" in out) is not check
    assert bool(fake.runs) is not check


def test_runs_are_sent_to_the_team_that_is_named(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    WandbSync(run, Wandb(entity="team", project="other")).send(lambda line: None)
    homes = {(sent.fields["entity"], sent.fields["project"]) for sent in fake.runs.values()}
    assert homes == {("team", "other")}


def test_a_second_retraining_takes_the_place_of_the_first(
    run: RunFolder, trial: Trial, serve: Callable[..., FakeWandb]
) -> None:
    fake = serve()
    tracker = WandbTracker(Wandb(mode="online"))
    for attempt, scores in ((1, [0.5, 0.6]), (2, [0.7])):
        Ledger(run).update_run(attempts={"retrain": attempt})
        made = trial("retrain", scores, Status.COMPLETED)
        sweep = SweepIdentity.of(run)
        retraining = tracker.start(TrialContext(sweep, run, "retrain", "retrain", made.config))
        for report in made.reports:
            retraining.log(report)
        retraining.finish(Status.COMPLETED, {})
    first, second = (fake.runs[f"{UID}-{name}"] for name in ("retrain", "retrain-2"))
    assert ("superseded" in first.fields["tags"], "superseded" in second.fields["tags"]) == (True, False)
    assert ([len(first.rows), len(second.rows)]) == [2, 1]


def test_a_retrained_winner_is_sent_too(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    winner = Ledger(run).read_trial("0000")
    record: dict[str, Any] = {
        "status": "COMPLETED",
        "trial_id": "0000",
        "test": {"metrics": {"macro_f1": 0.6875}},
        "config": winner.config.to_json(),
    }
    record["reports"] = [report.model_dump(mode="json") for report in winner.reports[:2]]
    run.here(run.winner).mkdir()
    (run.here(run.winner) / "retrain.json").write_text(json.dumps(record))
    told, left = synced(run)
    assert ("retrain: sent, 2 epochs of 2" in told, left) == (True, [])
    sent = fake.runs[f"{UID}-retrain"]
    assert (sent.fields["jobType"], sent.summary["test/macro_f1"]) == ("retrain", 0.6875)
    assert synced(run) == ([], [])


def test_an_export_is_sent_with_its_lineage(run: RunFolder, serve: Callable[..., FakeWandb]) -> None:
    fake = serve()
    folder = run.here(run.export)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "export.json").write_text('{"trial_id": "0000"}')
    assert synced(run)[1] == []
    record = f"small-{UID}-record-0000"
    assert fake.runs[f"{UID}-0000"].logged[record] == ["0000", "latest", "winner"]
    assert fake.runs[f"{UID}-export"].logged[f"small-{UID}-model"] == sorted([UID, "latest", "winner"])
    assert fake.runs[f"{UID}-export"].used == [record]
    assert synced(run) == ([], [])
