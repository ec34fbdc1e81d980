"""Files of a search; from its leaderboard to a prediction, command by command; and one trial without Ray."""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run as cli
from orchestrator.driver.sweep import SweepOutcome
from orchestrator.search.study import STATES
from orchestrator.worker.assignment import ANSWER
from trainables.bundle.predict import Predictor
from trainables.checkpoint_state import CheckpointState
from trainables.data.arrays import load_arrays
from trainables.loop import checkpoint
from trainables.loop.evaluate_checkpoints import evaluate_checkpoint
from trainables.result import TrialResult
from trainables.status import Status
from trainables.task.inference import predict_outputs

pytestmark = pytest.mark.seconds(45)

LEADERBOARD_FIELDS = [
    "rank",
    "trial_id",
    "status",
    "objective",
    "epoch",
    "epochs",
    "seconds",
    "total_parameters",
    "trainable_parameters",
    "probe",
    "skipped_images",
    "parameters",
    "config",
    "failure",
]
MODULE = re.compile(rb"\b(?:search_spaces|trainables|analysis|orchestrator)[./]\w+")
TEXT_OR_SCRATCH = ("logs", "tune")
"""Logs are for people; Ray Tune's folder is wiped at each start."""


def test_every_trial_is_in_the_ledger_once_and_has_ended(searched: tuple[SweepOutcome, list[TrialResult]]):
    outcome, changes = searched
    trials = Ledger(outcome.run).trials()
    assert [trial.trial_id for trial in trials] == [f"{number:04d}" for number in range(6)]
    assert {trial.status for trial in trials} <= {Status.COMPLETED, Status.PRUNED}
    assert all(len(trial.reports) == 3 for trial in trials if trial.status is Status.COMPLETED)
    assert not outcome.interrupted
    ends = Counter(change.trial_id for change in changes if change.status is not Status.RUNNING)
    assert ends == {trial.trial_id: 1 for trial in trials}


def test_the_winner_is_what_the_ledger_says(searched: tuple[SweepOutcome, list[TrialResult]], cache_dir: Path):
    run = searched[0].run
    board = Leaderboard.from_run(run)
    winner = board.winner()
    assert winner.objective == max(entry.objective or 0 for entry in board.entries if entry.rank)
    assert winner.best is not None
    measured = evaluate_checkpoint(run.best(winner.trial_id), "val", cache_dir).metrics
    told = {name.removeprefix("val/"): value for name, value in winner.best.metrics.items() if name.startswith("val/")}
    assert measured == pytest.approx(told, abs=1e-6)
    assert run.leaderboard_csv.read_text().splitlines()[1].startswith(f"1,{winner.trial_id},COMPLETED,")


def test_tune_remembers_next_to_nothing_of_an_ended_trial(searched: tuple[SweepOutcome, list[TrialResult]]):
    (state,) = searched[0].run.tune.glob("experiment_state-*.json")
    trials = [json.loads(remembered) for _, remembered in json.loads(state.read_text())["trial_data"]]
    assert len(trials) == 6
    for trial in trials:
        assert not trial["metric_analysis"], "statistics of every number in a result"
        assert set(trial["last_result"]) - {"trial_id"} == {ANSWER}
        assert not trial["last_result"][ANSWER]


def test_the_study_tells_the_truth(searched: tuple[SweepOutcome, list[TrialResult]]):
    run = searched[0].run
    trials = {trial.trial_id: trial for trial in Ledger(run).trials()}
    storage = JournalStorage(JournalFileBackend(str(run.study_log)))
    study = optuna.load_study(study_name="sweep", storage=storage)
    assert {asked.user_attrs["trial_id"]: asked.state for asked in study.trials} == {
        trial_id: STATES[trial.status] for trial_id, trial in trials.items()
    }
    for asked in study.trials:
        trial = trials[asked.user_attrs["trial_id"]]
        values = {report.epoch: report.metrics["val/macro_f1"] for report in trial.reports}
        assert asked.intermediate_values == values
        assert trial.status is not Status.COMPLETED or asked.value == trial.objective


def test_wandb_mirrors_every_trial(searched: tuple[SweepOutcome, list[TrialResult]]):
    run = searched[0].run
    uid = Ledger(run).read_run().uid
    folders = list(run.wandb.glob(f"offline-run-*-{uid}-0*"))
    assert sorted(re.sub(r"offline-run-\d+_\d+-", "", folder.name) for folder in folders) == [
        f"{uid}-{n:04d}" for n in range(6)
    ]
    assert all(list(folder.glob("*.wandb")) for folder in folders)


def test_predictions_are_left_by_every_trial(searched: tuple[SweepOutcome, list[TrialResult]]):
    run = searched[0].run
    for trial in Ledger(run).trials():
        table = pq.read_table(run.predictions(trial.trial_id))
        assert table.num_rows == 79
        right = sum(a == b for a, b in zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True))
        assert trial.best is not None
        assert right / 79 == pytest.approx(trial.best.metrics["val/accuracy"])


def test_workers_are_used_again_and_gone_at_the_end(
    assert_nothing_is_left: Callable[[set[int]], None], searched: tuple[SweepOutcome, list[TrialResult]]
):
    run = searched[0].run
    logs = [run.log(trial.trial_id).read_text() for trial in Ledger(run).trials()]
    pids = {int(pid) for log in logs for pid in re.findall(r"\[(\d+)\] INFO orchestrator: trial ", log)}
    assert len(pids) <= 2, "two trials at once: two processes serve all six, or the first one before the second is up"
    assert_nothing_is_left(pids)


@pytest.fixture(scope="module")
def exported(searched: tuple[SweepOutcome, list[TrialResult]]) -> RunFolder:
    """The run, its winner retrained and exported by the commands."""
    run = searched[0].run
    assert cli(["retrain", str(run.root)]) == 0
    assert cli(["export", str(run.root)]) == 0
    return run


def test_leaderboard(searched: tuple[SweepOutcome, list[TrialResult]], capsys: pytest.CaptureFixture[str]):
    run = searched[0].run
    entries = printed(capsys, "leaderboard", run.root)
    assert [list(entry) for entry in entries] == [LEADERBOARD_FIELDS] * 6
    assert {entry["skipped_images"] for entry in entries} == {3}
    skipped = Ledger(run).read_run().skipped_images
    assert {split: [*images] for split, images in skipped.items()} == {
        "test": ["test/3/bad.png"],
        "train": ["train/0/a.png", "train/7/bad.png"],
    }
    ranks = [entry["rank"] for entry in entries]
    completed = sum(entry["status"] == "COMPLETED" for entry in entries)
    assert ranks == [*range(1, completed + 1), *[None] * (6 - completed)]
    values = [entry["objective"] for entry in entries[:completed]]
    assert values == sorted(values, reverse=True)
    assert entries == [entry.to_json() for entry in searched[0].leaderboard.entries]
    assert printed(capsys, "leaderboard", run.root, "--top", "2") == entries[:2]

    assert cli(["leaderboard", str(run.root)]) == 0
    told = capsys.readouterr()
    same, _, *lines = told.out.splitlines()
    assert "images that cannot be decoded are left out (data.on_bad_image: skip): 1 of test, 2 of train" in told.err
    assert same.startswith("all: data.root=")
    assert lines[0].split()[:4] == ["rank", "trial", "status", "val/macro_f1"]
    assert lines[1].split()[:4] == ["1", entries[0]["trial_id"], "COMPLETED", f"{values[0]:.4f}"]


def test_retrain_and_export(exported: RunFolder, capsys: pytest.CaptureFixture[str]):
    winner = printed(capsys, "leaderboard", exported.root)[0]
    record = json.loads((exported.winner / "retrain.json").read_text())
    assert record["trial_id"] == winner["trial_id"]
    assert record["test"]["split"] == "test"
    assert sum(map(sum, record["test"]["confusion"])) == 79
    parity = json.loads((exported.export / "parity.json").read_text())
    assert parity["images"] == parity["same_label"] + parity["ties"] == 79
    # Same configuration, same data, same seed.
    reports = CheckpointState.read(exported.winner / "checkpoints" / "last").reports
    values = [report.metrics["train/loss"] for report in reports]
    assert values == pytest.approx(
        [report.metrics["train/loss"] for report in Ledger(exported).read_trial(winner["trial_id"]).reports], rel=0.05
    )

    document = printed(capsys, "export", exported.root)
    card = (exported.export / "model_card.md").read_text()
    for text in (
        "split: test",
        "| macro-F1 |",
        "| all | ",
        "Left out because they cannot be decoded: 1 of test, 2 of train.",
    ):
        assert text in card
    assert str(winner["config"]["data"]["root"]) not in card
    calibration = document["calibration"]
    assert calibration["images"] == 79
    assert calibration["after"]["value"] <= calibration["before"]["value"] + 0.05
    assert calibration["coverages"][0]["coverage"] == 1
    assert document["model"] == str(exported.export / "model.onnx")
    assert document["origin"] == f"trial {winner['trial_id']}, retrained"
    assert document["labels"] == [str(digit) for digit in range(10)]
    metadata = Predictor.open(exported.export / "model.onnx").session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["thaw.skipped_images"]) == {"test": 1, "train": 2}


def test_trackers_have_the_retrained_winner_and_one_summary(exported: RunFolder):
    uid = Ledger(exported).read_run().uid
    for name in ("retrain", "sweep"):
        assert len(list(exported.wandb.glob(f"offline-run-*/run-{uid}-{name}.wandb"))) == 1
    assert b"test/macro_f1" in b"".join(file.read_bytes() for file in boards(exported, "retrain"))
    (board,) = boards(exported, "sweep")
    for text in (rb"test/macro\_f1", b"export/model", b"leaderboard"):
        assert text in board.read_bytes()


def boards(run: RunFolder, name: str) -> list[Path]:
    return list((run.local / "tensorboard" / name).glob("events.*"))


def test_evaluate(exported: RunFolder, capsys: pytest.CaptureFixture[str]):
    record = json.loads((exported.winner / "retrain.json").read_text())
    told = printed(capsys, "evaluate", exported.root)
    assert told == {
        "trial_ids": [record["trial_id"]],
        "origin": f"trial {record['trial_id']}, retrained",
        "tta": "none",
        **record["test"],
    }
    board = [entry["trial_id"] for entry in printed(capsys, "leaderboard", exported.root) if entry["rank"]]
    voted = printed(capsys, "evaluate", exported.root, *board[:2], "--split", "val", "--tta", "flip+crops")
    assert voted["trial_ids"] == board[:2]
    assert (voted["split"], voted["tta"]) == ("val", "flip+crops")
    same = printed(capsys, "evaluate", exported.root, "--ensemble", "2", "--split", "val", "--tta", "flip+crops")
    assert same["metrics"] == voted["metrics"]

    assert cli(["evaluate", str(exported.root), "--tta", "flip"]) == 0
    out = capsys.readouterr().out
    assert f"trial {record['trial_id']}, retrained: test split, 79 images, views: flip" in out
    for word in ("true \\ predicted", "balanced accuracy", "calibration error", "95 %"):
        assert word in out
    for wrong, said in (
        (["--split", "holdout"], "--split: must be one of train, val, test, got 'holdout'"),
        (["9999"], "no trial has the id '9999'"),
        (["--tta", "rotate"], "rotate"),
        (["--ensemble", "1"], "--ensemble"),
    ):
        assert cli(["evaluate", str(exported.root), *wrong]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_the_exported_model_predicts_what_the_trained_one_does(exported: RunFolder, digits: Path, cache_dir: Path):
    model, state = checkpoint.load_trained(exported.winner / "checkpoints" / "best")
    arrays = load_arrays(state.config.data, cache_dir, ["test"])
    logits = predict_outputs(model, arrays.splits["test"], state.mean, state.std, torch.device("cpu"))
    samples = arrays.dataset.splits["test"]
    expected = [arrays.classes[index] for index in logits.argmax(axis=1)]

    predictor = Predictor.open(exported.export / "model.onnx")
    predictions = list(predictor.predict_files([digits / sample.path for sample in samples]))

    assert [prediction.label for prediction in predictions] == expected
    assert predictor.temperature != 1
    warm = logits / predictor.temperature
    probabilities = np.exp(warm - warm.max(axis=1, keepdims=True))
    best = (probabilities / probabilities.sum(axis=1, keepdims=True)).max(axis=1)
    assert [prediction.probability for prediction in predictions] == pytest.approx(best, abs=1e-4)


def test_predict(exported: RunFolder, digits: Path, capsys: pytest.CaptureFixture[str]):
    model = exported.export / "model.onnx"
    images = sorted((digits / "test" / "7").iterdir())
    predictions = printed(capsys, "predict", model, digits / "test" / "7", "--top", "3")
    assert [prediction["path"] for prediction in predictions] == [str(image) for image in images]
    for prediction in predictions:
        assert list(prediction) == ["path", "label", "probability", "top"]
        assert [list(entry) for entry in prediction["top"]] == [["label", "probability"]] * 3
        assert prediction["top"][0] == {"label": prediction["label"], "probability": prediction["probability"]}

    assert cli(["predict", str(model), str(images[0])]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["image", "label", "probability", "then"]
    assert f"{predictions[0]['probability']:.3f}" in out


def test_predictions_as_csv_of_mirror_images_and_of_what_is_piped_in(
    exported: RunFolder, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model, images = exported.export / "model.onnx", sorted((digits / "test" / "7").iterdir())
    (tmp_path / "broken.png").write_bytes(b"no image")
    told = ["predict", str(model), str(digits / "test" / "7"), str(tmp_path), "--tta", "flip", "--format", "csv"]
    assert cli(told) == 1
    shown = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [row["path"] for row in rows] == [*map(str, images), str(tmp_path / "broken.png")]
    assert all(row["label"].isdecimal() and 0 < float(row["probability"]) <= 1 for row in rows[:-1])
    assert (rows[-1]["label"], rows[-1]["probability"]) == ("", "")
    assert "image must be" in rows[-1]["error"]
    assert re.search(rf"{len(rows)} images in \d+\.\d s, \S+ per second", shown.err)
    with images[0].open("rb") as piped:
        command = [str(Path(sys.executable).with_name("thaw")), "predict", str(model), "-", "--format", "json"]
        ended = subprocess.run(command, stdin=piped, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [
        {**printed(capsys, "predict", model, images[0])[0], "path": "/dev/stdin"},
    ]


def test_any_trial_is_exported_and_predicts(exported: RunFolder, digits: Path, capsys: pytest.CaptureFixture[str]):
    image, model = digits / "test" / "7", exported.export / "model.onnx"
    before = model.read_bytes()
    second = next(entry["trial_id"] for entry in printed(capsys, "leaderboard", exported.root) if entry["rank"] == 2)
    assert cli(["predict", str(exported.root), str(image), "--rank", "2"]) == 2
    assert f"export it: `thaw export {exported.root} --trial {second}`" in " ".join(capsys.readouterr().err.split())
    told = printed(capsys, "export", exported.root, "--rank", "2")
    assert told["model"] == str(exported.exported(second) / "model.onnx")
    assert told["origin"] == f"trial {second}, as trained in the sweep"
    assert model.read_bytes() == before
    by_run = printed(capsys, "predict", exported.root, image, "--trial", second)
    assert by_run == printed(capsys, "predict", told["model"], image)
    assert printed(capsys, "predict", exported.root, image) == printed(capsys, "predict", model, image)
    for wrong, said in (
        ([exported.root, image, "--trial", "0001", "--rank", "1"], "--rank: must stand without --trial"),
        ([model, image, "--rank", "1"], f"--rank: must stand with a run, got the file {model}"),
    ):
        assert cli(["predict", *map(str, wrong)]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_variants_of_any_trial(exported: RunFolder, digits: Path, capsys: pytest.CaptureFixture[str]):
    entries = printed(capsys, "leaderboard", exported.root)
    second = next(entry["trial_id"] for entry in entries if entry["rank"] == 2)
    command = ["export", str(exported.root), "--trial", second, "--variant", "fp16", "--variant", "ort"]
    assert cli([*command, "--with-preprocessing", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pixels"]["images"] == document["pixels"]["same_label"] == 79
    folder = Path(document["model"]).parent
    plain = printed(capsys, "predict", folder / "model.onnx", digits / "test" / "7")
    for report, name in zip(document["variants"], ("model.fp16.onnx", "model.ort"), strict=True):
        assert (report["kept"], report["images"]) == (True, 79)
        assert report["loss"]["interval"][0] <= report["loss"]["value"] <= report["loss"]["interval"][1]
        answers = printed(capsys, "predict", folder / name, digits / "test" / "7")
        assert [answer["label"] for answer in answers] == [answer["label"] for answer in plain]

    assert cli([*command, "--max-drop", "0"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"fp16 .*79 of 79 .*deleted", shown.out)
    assert "fp16: the upper end of its loss must be below 0, but it is 0.0000" in " ".join(shown.err.split())
    assert sorted(file.name for file in folder.glob("model.*")) == ["model.onnx"]
    card = (folder / "model_card.md").read_text()
    assert "deleted: it may lose too much" in card


def test_a_vote_is_one_file(exported: RunFolder, digits: Path, capsys: pytest.CaptureFixture[str]):
    told = printed(capsys, "export", exported.root, "--ensemble", "2")
    file = exported.exported("ensemble-2") / "model.onnx"
    best = [entry["trial_id"] for entry in printed(capsys, "leaderboard", exported.root)][:2]
    assert (told["model"], told["origin"]) == (str(file), f"soft vote of the trials {', '.join(best)}")
    assert told["parity"]["same_label"] == told["parity"]["images"] == 79
    measured = printed(capsys, "evaluate", exported.root, *best, "--split", "val")
    card = (file.parent / "model_card.md").read_text()
    assert f"| accuracy | {measured['metrics']['accuracy']:.4g} |" in card
    assert f"- Trial {best[1]}: " in card
    assert "local-dir:timm" not in card
    assert [answer["label"] for answer in printed(capsys, "predict", file, digits / "test" / "7")]
    assert cli(["export", str(exported.root), "--ensemble", "2", "--rank", "2"]) == 2
    assert f"--ensemble: takes the best trials, got {best[1]} too" in " ".join(capsys.readouterr().err.split())


def test_predict_needs_no_torch(exported: RunFolder, digits: Path, tmp_path: Path):
    image = next(iter(sorted((digits / "test" / "3").iterdir())))
    code = (
        "import sys\n"
        "for name in ('torch', 'ray', 'optuna', 'wandb', 'timm', 'pandas'): sys.modules[name] = None\n"
        "from orchestrator.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "predict", exported.export / "model.onnx", image, "--format", "json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)[0]["path"] == str(image)


def test_no_record_holds_the_path_of_a_module(exported: RunFolder, cache_dir: Path):
    """Code may move, and old runs stay readable."""
    root = Path(str(exported.root))
    files = [path for path in root.rglob("*") if path.is_file()]
    records = [path for path in files if path.relative_to(root).parts[0] not in TEXT_OR_SCRATCH]
    assert {path.suffix for path in records} >= {
        *(".json", ".yaml", ".csv", ".parquet", ".safetensors", ".onnx", ".wandb", ".log"),
    }
    cached = [path for path in cache_dir.rglob("*") if path.is_file()]
    assert cached
    assert {str(path): found for path in [*records, *cached] if (found := modules_in(path))} == {}


def modules_in(path: Path) -> list[bytes]:
    """Find paths of modules in a file and its name, the traceback of a failed trial left out."""
    content = path.read_bytes()
    if path.parent.name == "trials":
        record = json.loads(content)
        record.get("failure", {}).pop("traceback", None)
        content = json.dumps(record).encode()
    return MODULE.findall(path.name.encode()) + MODULE.findall(content)


def test_logs(searched: tuple[SweepOutcome, list[TrialResult]], capsys: pytest.CaptureFixture[str]):
    run = searched[0].run
    assert cli(["logs", str(run.root), "0000"]) == 0
    assert "epoch 1: train/loss" in capsys.readouterr().out
    assert cli(["logs", str(run.root)]) == 0
    capsys.readouterr()
    assert cli(["logs", str(run.root), "0099"]) == 2
    err = capsys.readouterr().err
    assert "0099" in err
    assert "there are 0000, 0001," in err


def test_one_trial_alone_needs_no_ray(digits: Path, cache_dir: Path, tmp_path: Path):
    config = {
        "data": {"root": str(digits), "image_size": 32, "resize_mode": "squash"},
        "architecture": "test_efficientnet",
        "weights": "none",
        "strategy": "full",
        "epochs": 4,
        "lr": 2e-3,
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    # Stopped after two epochs, gone on with, refused where something is; all in one process, which is dear to start.
    code = """
import sys
from orchestrator.cli import run
from orchestrator.commands import trials
from trainables.loop import train

whole = train.train
def half(*arguments):
    for report in whole(*arguments):
        yield report
        if report.epoch == 2:
            raise KeyboardInterrupt
train.train = half
assert run(["trial", "mine.yaml"]) == 130
train.train = whole
assert run(["trial", "mine.yaml"]) == 2
assert run(["trial", "mine.yaml", "--resume"]) == 0
assert run(["trial", "mine.yaml", "--resume"]) == 0
assert run(["trial", "mine.yaml", "--set", "epochs=1", "--out", "other"]) == 0
found = {"ray", "optuna"} & sys.modules.keys()
assert not found, found
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert ended.returncode == 0, ended.stderr
    epochs = [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("epoch ")]
    assert epochs == ["1", "2", "3", "4", "1"], "resumed where it stood, and done is done"
    assert "must be a new folder" in ended.stderr
    assert "--resume" in ended.stderr
    assert len(CheckpointState.read(tmp_path / "runs" / "mine" / "checkpoints" / "last").reports) == 4
    assert checkpoint.exists(tmp_path / "other" / "checkpoints" / "best")
    assert (tmp_path / "other" / "predictions.parquet").is_file()


def test_doctor(cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    checks = printed(capsys, "doctor")
    assert all(list(check) == ["name", "found", "ok", "remedy"] for check in checks)
    by_name = {check["name"]: check for check in checks}
    assert by_name["ray"]["ok"]
    assert str(cache_dir) in by_name["cache"]["found"]
    assert cli(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(check["name"] in out for check in checks)
    (tmp_path / "file").write_text("")
    assert cli(["doctor", "--storage", str(tmp_path / "file")]) == 1
    assert "not ready: storage" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[dict[str, object]]:
    """JSON that a command prints."""
    capsys.readouterr()
    assert cli([*map(str, arguments), "--format", "json"]) == 0
    document: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return document
