import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracker_files import MlflowRun, mlflow_runs

from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder
from orchestrator.spec.loading import load
from orchestrator.spec.sections import Mlflow
from orchestrator.tracking.isolated_tracker import HostedTracker
from orchestrator.tracking.mlflow_tracker import (
    MlflowTracker,
    configured_client,
    is_service,
    outage_explainer,
    tracking_uri,
)
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.tracker import TrialContext
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

Trial = Callable[..., TrialResult]
REPORT = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5}, seconds=2.0, checkpoint="best")


def context(trial: TrialResult, folder: Path) -> TrialContext:
    sweep, run = SweepIdentity("digits", "0123"), RunFolder(folder)
    return TrialContext(sweep, run, trial.trial_id, "trial", trial.config, trial.parameters)


@pytest.fixture
def tracker(tmp_path: Path) -> Any:
    """A tracker of the folder `store`, in a process of its own."""
    made = HostedTracker(MlflowTracker("photos", str(tmp_path / "store")), configured_client(4))
    yield made
    made.close()


def only(store: Path, name: str) -> MlflowRun:
    (run,) = [run for run in mlflow_runs(store) if run.tags["mlflow.runName"] == name]
    return run


def test_the_status_is_a_tag_and_one_of_mlflow(trial: Trial, tracker: Any, tmp_path: Path) -> None:
    before = "mlflow" in sys.modules
    theirs = {Status.PRUNED: 3, Status.PRUNED_OOM: 4, Status.INTERRUPTED: 5, Status.RUNNING: 5}
    for status, number in theirs.items():
        tracker.start(context(trial(status.value), tmp_path)).finish(status, {})
        run = only(tmp_path / "store", status.value)
        assert (run.tags["status"], run.meta["status"]) == (status.value, number)
    assert ("mlflow" in sys.modules) == before, "it is imported in the child process alone"


def test_names_that_mlflow_refuses_are_changed_and_long_values_cut(trial: Trial, tracker: Any, tmp_path: Path) -> None:
    long = trial("0007", data={"root": "photos", "split": {"group_by": "x" * 8000}})
    run = tracker.start(context(long, tmp_path))
    run.log(REPORT.model_copy(update={"metrics": {"val/recall/a,b (c)": 0.5, "../odd/": 0.25}}))
    run.finish(Status.COMPLETED, {"best/val/macro_f1": 0.5, "best/epoch": 1})
    kept = only(tmp_path / "store", "0007")
    assert kept.metrics.keys() == {"val/recall/a_b _c_", "odd", "time/epoch_s", "best/val/macro_f1", "best/epoch"}
    assert len(kept.params["data_split_group_by"]) == 6000


def test_a_restart_in_one_process_uses_the_run_again(trial: Trial, tracker: Any, tmp_path: Path) -> None:
    first = tracker.start(context(trial("0007"), tmp_path))
    first.log(REPORT)
    first.finish(Status.INTERRUPTED, {})
    again = tracker.start(replace(context(trial("0007"), tmp_path), earlier=(REPORT,)))
    again.log(REPORT.model_copy(update={"epoch": 2}))
    again.finish(Status.COMPLETED, {})
    assert [step for step, _ in only(tmp_path / "store", "0007").metrics["val/macro_f1"]] == [1, 2]


def test_the_files_of_the_model_are_artifacts_of_the_sweep(trial: Trial, tracker: Any, tmp_path: Path) -> None:
    export = tmp_path / "run" / "export"
    export.mkdir(parents=True)
    (export / "model.onnx").write_text("old")
    (export / "labels.txt").write_text("a\nb\n")
    done = trial("0000", [0.5], Status.COMPLETED, {"lr": 0.01})
    summary = SweepSummary(
        SweepIdentity("digits", "0123"), RunFolder(tmp_path / "run"), Leaderboard.from_trials(Objective(), [done])
    )
    for content in ("old", "new"):
        (export / "model.onnx").write_text(content)
        tracker.publish(replace(summary, model=export / "model.onnx"))
    run = only(tmp_path / "store", "digits")
    artifacts = {path.relative_to(run.folder).as_posix() for path in run.folder.glob("artifacts/**/*.*")}
    assert artifacts == {f"artifacts/{name}" for name in ("leaderboard.csv", "export/model.onnx", "export/labels.txt")}
    assert (run.folder / "artifacts" / "export" / "model.onnx").read_text() == "new"
    assert (run.tags["objective"], run.meta["status"]) == ("val/macro_f1", 3)


def test_the_model_in_a_bucket_is_copied_too(trial: Trial, tracker: Any, bucket: str, tmp_path: Path) -> None:
    from trainables.storage.bucket import BucketPath

    model = BucketPath.parse(f"{bucket}/digits/export/model.onnx")
    model.write_bytes(b"a model")
    board = Leaderboard.from_trials(Objective(), [trial("0000", [0.5], Status.COMPLETED)])
    tracker.publish(SweepSummary(SweepIdentity("digits", "0123"), RunFolder(tmp_path / "run"), board, model=model))
    assert (only(tmp_path / "store", "digits").folder / "artifacts/export/model.onnx").read_bytes() == b"a model"


@pytest.mark.parametrize(
    ("given", "variable", "uri"),
    [
        (None, None, None),
        (None, "", None),
        (None, "https://mlflow.example", "https://mlflow.example"),
        (None, "file:///photos/mlruns", "/photos/mlruns"),
        ("http://here:5000", "https://mlflow.example", "http://here:5000"),
        ("/here", "https://mlflow.example", "/here"),
    ],
)
def test_the_file_comes_before_the_variable(given: str | None, variable: str | None, uri: str | None) -> None:
    environment = {} if variable is None else {"MLFLOW_TRACKING_URI": variable}
    assert tracking_uri(Mlflow(uri=given), environment) == uri
    assert is_service(uri or "") == (uri is not None and uri.startswith("http"))


@pytest.mark.parametrize("variable", ["sqlite:///mlflow.db", "databricks", "postgresql://ada:secret@db/mlflow"])
def test_a_variable_of_another_kind_is_refused(variable: str) -> None:
    with pytest.raises(InvalidInput, match=r"^\$MLFLOW_TRACKING_URI: must be .*; set another, or") as error:
        tracking_uri(Mlflow(), {"MLFLOW_TRACKING_URI": variable})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "http://ada:secret@mlflow.example",
            "mlflow.uri: must be an address without a user name and password",
        ),
        ("sqlite:///mlflow.db", "tracking.mlflow.uri: must be a folder or an address http(s)://..., got 'sqlite"),
    ],
)
def test_an_address_with_a_password_and_other_kinds_are_refused(
    small: Callable[..., Path], uri: str, words: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        load(small(tracking={"mlflow": {"uri": uri}}))
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_a_folder_is_relative_to_the_file(small: Callable[..., Path], tmp_path: Path) -> None:
    spec = load(small(tracking={"mlflow": {"uri": "boards"}}))
    assert spec.tracking.mlflow == Mlflow(uri=str(tmp_path / "boards"))
    assert load(small()).tracking.mlflow is None


def test_the_outage_names_the_folder_and_no_password(tmp_path: Path) -> None:
    explain = outage_explainer("https://ada:secret@mlflow.example")
    message = explain(TimeoutError("timeout after 24 s"), RunFolder(tmp_path))
    assert message.startswith("MLflow: https://mlflow.example does not answer (timeout after 24 s); the rest is ")
    assert message.endswith(f"--backend-store-uri {tmp_path}/mlruns")
    assert "secret" not in message
