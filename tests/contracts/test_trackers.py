"""Every tracker keeps what the dispatcher sends, once and apart; none of them can harm a sweep or another tracker.

The files of W&B and TensorBoard are read here by their framing alone, without the clients that wrote them.
"""

import copy
import csv
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from patient_dispatcher import PatientDispatcher
from run_records import run_record
from tracker_files import MlflowRun, mlflow_runs, tensorboard_events, wandb_records, wandb_values

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Mlflow, TensorBoard, Tracking, Wandb
from orchestrator.tracking.configured_trackers import make_trackers
from orchestrator.tracking.dispatcher import Dispatcher
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tensorboard_tracker import TensorBoardTracker
from orchestrator.tracking.tracker import TrackedTrial, Tracker, TrialContext, TrialFiles
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

SWEEP = "digits"


@dataclass
class Seen:
    """Records of one trial in a tracker: rows in the order in which they were written, then the end."""

    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


class Shown(Protocol):
    """A tracker under test, and a reader of what it wrote."""

    def tracker(self) -> Tracker: ...
    def trial(self, name: str) -> Seen: ...
    def published(self) -> list[dict[str, Any]]: ...


# ---- a toy tracker --------------------------------------------------------------------------------------------------


class ToyTrial:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def log(self, report: EpochReport) -> None:
        self.seen.rows.append((report.epoch, {**report.metrics, "time/epoch_s": report.seconds}))

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        self.seen.statuses.append(status.value)
        self.seen.summary |= summary


class ToyTracker:
    """Keeps everything in memory."""

    name = "toy"

    def __init__(self) -> None:
        self.trials: dict[str, Seen] = {}
        self.contexts: list[TrialContext] = []
        self.summary: list[dict[str, Any]] = []

    def start(self, context: TrialContext) -> TrackedTrial:
        self.contexts.append(context)
        toy = ToyTrial(self.trials.setdefault(context.name, Seen()))
        toy.seen.rows, toy.seen.statuses = [], []
        for report in context.earlier:
            toy.log(report)
        return toy

    def publish(self, summary: SweepSummary) -> None:
        self.summary = [summary.values()]


class ToyShown:
    def __init__(self, folder: Path) -> None:
        self.toy = ToyTracker()

    def tracker(self) -> Tracker:
        return self.toy

    def trial(self, name: str) -> Seen:
        return self.toy.trials[name]

    def published(self) -> list[dict[str, Any]]:
        return self.toy.summary


# ---- W&B: LevelDB's log framing around protocol buffers -------------------------------------------------------------


class WandbShown:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tracker(self) -> Tracker:
        return WandbTracker(Wandb(mode="offline"))

    def files(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"wandb/offline-run-*/run-{SWEEP}-{name}.wandb"))

    def trial(self, name: str) -> Seen:
        seen = Seen()
        for file in self.files(name):
            for record in wandb_records(file):
                if record.HasField("run"):
                    tags = list(record.run.tags)
                    assert (record.run.run_group, record.run.display_name) == (SWEEP, name)
                elif record.HasField("history"):
                    row = wandb_values(record.history.item)
                    assert record.history.step.num == row.pop("_step") == row.pop("epoch")
                    values = {key: value for key, value in row.items() if not key.startswith("_")}
                    seen.rows.append((record.history.step.num, values))
                elif record.HasField("summary"):
                    seen.summary |= wandb_values(record.summary.update)
                elif record.HasField("exit"):
                    good = seen.summary["status"] in (Status.COMPLETED, Status.PRUNED)
                    assert record.exit.exit_code == (0 if good else 1)
            assert tags == ["resnet18", "head", "balance-none", seen.summary["status"]]
            seen.statuses.append(seen.summary["status"])
        # The plain names: a trial's summary is its best epoch.
        seen.summary = {f"best/{name}": value for name, value in seen.summary.items()}
        return seen

    def published(self) -> list[dict[str, Any]]:
        shown = []
        for file in self.files("sweep"):
            values: dict[str, Any] = {}
            for record in wandb_records(file):
                if record.HasField("summary"):
                    values |= wandb_values(record.summary.update)
            (table,) = file.parent.glob("files/media/table/leaderboard*.json")
            assert [row[1] for row in json.loads(table.read_text())["data"]] == ["0001", "0000"]
            shown.append(values)
        return shown


# ---- TensorBoard: TFRecord framing around protocol buffers ----------------------------------------------------------


class TensorBoardShown:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tensorboard"

    def tracker(self) -> Tracker:
        return TensorBoardTracker(TensorBoard())

    def trial(self, name: str) -> Seen:
        from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

        seen, rows = Seen(), dict[int, dict[str, float]]()
        for event in tensorboard_events(self.folder / name):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    shown = seen.summary if value.tag.startswith("best/") else rows.setdefault(event.step, {})
                    assert value.tag not in shown, "written twice"
                    shown[value.tag] = value.simple_value
                elif value.tag.startswith("status"):
                    seen.statuses.append(value.tensor.string_val[0].decode())
                elif value.tag == "_hparams_/session_start_info":
                    data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                    hparams = data.session_start_info.hparams
                    assert {key: given.number_value for key, given in hparams.items()} == {"lr": 0.01}
        seen.rows = list(rows.items())
        return seen

    def published(self) -> list[dict[str, Any]]:
        texts = {
            value.tag.partition("/")[0]: value.tensor.string_val[0].decode()
            for event in tensorboard_events(self.folder / "sweep")
            for value in event.summary.value
        }
        assert [line.split(" | ")[1] for line in texts["leaderboard"].splitlines()[2:]] == ["0001", "0000"]
        cells = [line.strip("| ").split(" | ") for line in texts["sweep"].splitlines()[2:]]
        values = {name.replace("\\_", "_"): value for name, value in cells}
        return [{name: float(v) if v[0].isdigit() and name != "best/trial" else v for name, v in values.items()}]


# ---- MLflow: one text file per metric, parameter and tag ------------------------------------------------------------


class MlflowShown:
    def __init__(self, folder: Path) -> None:
        self.store = folder / "mlruns"

    def tracker(self) -> Tracker:
        (tracker,) = make_trackers(Tracking(wandb=Wandb(mode="disabled"), mlflow=Mlflow()))
        return tracker

    def parent(self) -> MlflowRun:
        (parent,) = [run for run in mlflow_runs(self.store) if "mlflow.parentRunId" not in run.tags]
        assert parent.tags["mlflow.runName"] == SWEEP
        return parent

    def trial(self, name: str) -> Seen:
        (run,) = [run for run in mlflow_runs(self.store) if run.tags.get("thaw.trial") == name]
        assert (run.tags["mlflow.parentRunId"], run.meta["run_name"]) == (self.parent().meta["run_id"], name)
        assert (run.params["data_root"], run.params["lr"]) == ("/photos", "0.01")
        assert not any(value in ("null", "None") for value in run.params.values())
        by_step: dict[int, dict[str, float]] = {}
        for metric, values in run.metrics.items():
            for step, value in values if not metric.startswith("best/") else ():
                assert metric not in by_step.setdefault(step, {}), "written twice"
                by_step[step][metric] = value
        best = {metric: values[-1][1] for metric, values in run.metrics.items() if metric.startswith("best/")}
        return Seen(sorted(by_step.items()), [run.tags["status"]], best)

    def published(self) -> list[dict[str, Any]]:
        parent = self.parent()
        table = (parent.folder / "artifacts" / "leaderboard.csv").read_text()
        assert [row["trial_id"] for row in csv.DictReader(table.splitlines())] == ["0001", "0000"]
        return [{name: values[-1][1] for name, values in parent.metrics.items()} | parent.tags]


SHOWN: dict[str, Callable[[Path], Shown]] = {
    "toy": ToyShown,
    "wandb": WandbShown,
    "tensorboard": TensorBoardShown,
    "mlflow": MlflowShown,
}


@pytest.fixture(params=SHOWN)
def shown(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_")) and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return SHOWN[request.param](tmp_path)


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Dispatcher]:
    """Opens a dispatcher, as one drive of a sweep does."""
    return lambda *trackers, known=(): PatientDispatcher(trackers, SweepIdentity(SWEEP), RunFolder(tmp_path), known)


def trial(name: str, epochs: int, status: Status = Status.RUNNING, seed: float = 0.0) -> TrialResult:
    """A trial with its first `epochs` epochs, other values for another `seed`."""
    config = {"data": {"root": "/photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 9, "lr": 0.01}
    reports = [
        EpochReport(
            epoch=epoch,
            metrics={"val/macro_f1": 1 - (epoch + seed) / 16, "train/loss": 2.0**-epoch + seed},
            seconds=epoch / 4 + seed,
            checkpoint="best",
        )
        for epoch in range(1, epochs + 1)
    ]
    settings = TrialConfig.model_validate(config)
    return TrialResult(trial_id=name, config=settings, parameters={"lr": 0.01}, status=status, reports=tuple(reports))


def rows(result: TrialResult) -> list[tuple[int, dict[str, float]]]:
    """Records that a tracker must show; all values of these trials are exact in 32 bits."""
    return [(report.epoch, {**report.metrics, "time/epoch_s": report.seconds}) for report in result.reports]


def live(dispatcher: Dispatcher, result: TrialResult, first: int = 0) -> None:
    """Send a trial as the driver does: its start, then epoch by epoch, then its end."""
    for epochs in range(first, len(result.reports) + 1):
        update = {"status": Status.RUNNING, "reports": result.reports[:epochs]}
        dispatcher.on_trial(result.model_copy(update=update))
    dispatcher.on_trial(result)


# ---- what every tracker keeps ---------------------------------------------------------------------------------------


def test_every_epoch_is_shown_once_and_then_the_status(shown: Shown, sweep: Callable[..., Dispatcher]) -> None:
    results = [trial(f"{number:04}", 3, status, seed=number / 16) for number, status in enumerate(Status)]
    dispatcher = sweep(shown.tracker())
    for result in results:
        live(dispatcher, result)
    assert dispatcher.close() == ()
    for result in results:
        seen, status = shown.trial(result.trial_id), result.status
        assert seen.rows == rows(result)
        assert seen.statuses == [status.value], "RUNNING: its driver ended, and the ledger says the same"
        if not status.unfinished:
            assert seen.summary["best/val/macro_f1"] == result.objective


def test_trials_that_run_at_once_do_not_mix(shown: Shown, sweep: Callable[..., Dispatcher]) -> None:
    first, second = trial("0000", 4, Status.COMPLETED), trial("0001", 4, Status.FAILED, seed=0.5)
    dispatcher = sweep(shown.tracker())
    for epochs in range(5):
        for result in (first, second):
            update = {"status": Status.RUNNING, "reports": result.reports[:epochs]}
            dispatcher.on_trial(result.model_copy(update=update))
    dispatcher.on_trial(second)
    dispatcher.on_trial(first)
    assert dispatcher.close() == ()
    for result in (first, second):
        assert shown.trial(result.trial_id).rows == rows(result)
        assert shown.trial(result.trial_id).statuses == [result.status.value]


def test_a_resumed_trial_repeats_nothing(shown: Shown, sweep: Callable[..., Dispatcher]) -> None:
    before, after = trial("0000", 2, Status.INTERRUPTED), trial("0000", 5, Status.COMPLETED)
    dispatcher = sweep(shown.tracker())
    live(dispatcher, before)
    assert dispatcher.close() == ()
    dispatcher = sweep(shown.tracker(), known=[before])
    live(dispatcher, after, first=2)
    assert dispatcher.close() == ()
    seen = shown.trial("0000")
    assert seen.rows == rows(after)
    assert seen.statuses == ["COMPLETED"]
    assert seen.summary["best/val/macro_f1"] == after.objective


def test_a_tracker_that_a_kill_has_cut_gets_what_it_lacks(shown: Shown, sweep: Callable[..., Dispatcher]) -> None:
    ended, running = trial("0000", 3, Status.COMPLETED), trial("0001", 2, seed=0.5)
    unseen, seen_whole = trial("0002", 2, Status.FAILED), trial("0003", 1, Status.PRUNED)
    dispatcher = sweep(shown.tracker())
    live(dispatcher, seen_whole)
    for result in (ended, running):  # their last epoch and their end do not arrive
        dispatcher.on_trial(result.model_copy(update={"status": Status.RUNNING, "reports": result.reports[:1]}))
    assert dispatcher.close() == ()
    dispatcher = sweep(shown.tracker(), known=[ended, running, unseen, seen_whole])
    whole = trial("0001", 4, Status.COMPLETED, seed=0.5)
    live(dispatcher, whole, first=2)
    assert dispatcher.close() == ()
    for result in (ended, whole, unseen, seen_whole):
        seen = shown.trial(result.trial_id)
        assert (seen.rows, seen.statuses[-1]) == (rows(result), result.status.value)
    assert shown.trial("0003").statuses == ["PRUNED"], "not told twice"


def test_a_trial_without_an_epoch_is_shown_with_its_status(shown: Shown, sweep: Callable[..., Dispatcher]) -> None:
    dispatcher = sweep(shown.tracker())
    dispatcher.on_trial(trial("0000", 0, Status.PRUNED_OOM))
    dispatcher.on_trial(trial("0000", 0, Status.PRUNED_OOM))
    assert dispatcher.close() == ()
    assert (shown.trial("0000").rows, shown.trial("0000").statuses) == ([], ["PRUNED_OOM"])


def test_a_summary_replaces_the_one_before(shown: Shown, sweep: Callable[..., Dispatcher], tmp_path: Path) -> None:
    trials = [trial("0000", 2, Status.PRUNED, seed=0.5), trial("0001", 4, Status.COMPLETED)]
    run = RunFolder(tmp_path)
    Ledger(run).write_run(run_record())
    summary = SweepSummary(SweepIdentity(SWEEP), run, Leaderboard.from_trials(Objective(), trials))
    model = tmp_path / "export" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(b"a model")
    final = replace(summary, test={"macro_f1": 0.625}, model=model)
    for given in (summary, final):
        with sweep(shown.tracker()) as dispatcher:
            dispatcher.publish(partial(copy.copy, given))
        assert dispatcher.close() == ()
    (values,) = shown.published()
    assert values["best/trial"] == "0001"
    assert values["best/val/macro_f1"] == trials[1].objective
    assert (values["trials/COMPLETED"], values["trials/PRUNED"], values["trials/FAILED"]) == (1, 1, 0)
    assert values["cost/seconds"] == 4.25
    assert (values["test/macro_f1"], values["export/model"]) == (0.625, "export/model.onnx")


# ---- what no tracker can do to a sweep ------------------------------------------------------------------------------


class BrokenTracker(ToyTracker):
    """Raises in one method."""

    name = "broken"

    def __init__(self, verb: str) -> None:
        super().__init__()
        self.verb = verb
        self.calls = 0

    def fail(self, verb: str) -> None:
        if verb == self.verb:
            self.calls += 1
            raise ConnectionError("out of reach")

    def start(self, context: TrialContext) -> TrackedTrial:
        self.fail("start")
        tracker, kept = self, super().start(context)

        class Trial:
            def log(self, report: EpochReport) -> None:
                tracker.fail("log")
                kept.log(report)

            def finish(self, status: Status, summary: Mapping[str, float]) -> None:
                tracker.fail("finish")
                kept.finish(status, summary)

        return Trial()

    def publish(self, summary: SweepSummary) -> None:
        self.fail("publish")


@pytest.mark.parametrize(("verb", "calls"), [("start", 2), ("log", 3), ("finish", 3), ("publish", 1)])
def test_a_tracker_that_raises_is_reported_once_and_costs_the_others_nothing(
    sweep: Callable[..., Dispatcher], tmp_path: Path, caplog: pytest.LogCaptureFixture, verb: str, calls: int
) -> None:
    broken, before, after = BrokenTracker(verb), ToyTracker(), ToyTracker()
    results = [trial(f"000{number}", 3, Status.COMPLETED) for number in range(3)]
    dispatcher = sweep(before, broken, after)
    for result in results:
        live(dispatcher, result)
    dispatcher.publish(
        lambda: SweepSummary(SweepIdentity(SWEEP), RunFolder(tmp_path), Leaderboard.from_trials(Objective(), results))
    )
    problems = dispatcher.close()
    assert problems == (f"broken: {verb} failed, ConnectionError: out of reach; the rest goes on without it",)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == list(problems)
    assert broken.calls == calls, "a trial gets no more epochs after a failure, a sweep no more trials after two"
    for tracker in (before, after):
        assert {name: seen.rows for name, seen in tracker.trials.items()} == {r.trial_id: rows(r) for r in results}
        assert all(seen.statuses == ["COMPLETED"] for seen in tracker.trials.values())
        assert tracker.summary
    if verb == "log":
        assert all(seen.statuses == ["COMPLETED"] for seen in broken.trials.values()), "closed all the same"


def test_a_tracker_that_hangs_holds_up_neither_the_calls_nor_the_others_nor_the_end(
    sweep: Callable[..., Dispatcher],
) -> None:
    released = threading.Event()

    class HangingTracker(ToyTracker):
        name = "hanging"

        def start(self, context: TrialContext) -> TrackedTrial:
            released.wait(60)
            return super().start(context)

    good = ToyTracker()
    began = time.monotonic()
    dispatcher = sweep(HangingTracker(), good)
    for number in range(3):
        live(dispatcher, trial(f"000{number}", 3, Status.COMPLETED))
    assert time.monotonic() - began < 5
    problems = dispatcher.close(timeout=0.2)
    assert time.monotonic() - began < 10
    assert problems == ("hanging: 15 records were left when the time to write them was over, 0.2 s after the end",)
    assert [seen.statuses for seen in good.trials.values()] == [["COMPLETED"]] * 3
    released.set()


def test_a_tracker_is_told_what_a_trial_is_and_how_much_of_it_was_logged(
    sweep: Callable[..., Dispatcher], tmp_path: Path
) -> None:
    toy, known = ToyTracker(), trial("0000", 2, Status.INTERRUPTED)
    with sweep(toy, known=[known]) as dispatcher:
        live(dispatcher, trial("0000", 3, Status.COMPLETED), first=2)
        live(dispatcher, trial("0001", 1, Status.PRUNED))
    resumed, new = toy.contexts
    files = TrialFiles(tmp_path / "predictions" / "0000.parquet", tmp_path / "checkpoints" / "0000" / "best")
    facts: dict[str, Any] = {"earlier": known.reports, "files": files}
    assert resumed == TrialContext(
        SweepIdentity(SWEEP), RunFolder(tmp_path), "0000", "trial", known.config, {"lr": 0.01}, **facts
    )
    assert (new.name, new.earlier) == ("0001", ())


def test_an_end_that_was_shown_before_is_not_shown_again(sweep: Callable[..., Dispatcher]) -> None:
    toy, known = ToyTracker(), trial("0000", 2, Status.COMPLETED)
    for count in (1, 1):
        with sweep(toy, known=[known]) as dispatcher:
            dispatcher.on_trial(known)
        assert len(toy.contexts) == count
