"""Bad input, command by command: exit code 2, a message with rule, value and remedy, and nothing written."""

import io
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.cli import run as cli
from orchestrator.driver.preflight import preflight
from orchestrator.spec.loading import load
from search_spaces.documents import dump_yaml
from trainables.bundle.export import export_bundle
from trainables.config import Objective
from trainables.data.preprocess import Preprocessing
from trainables.model.build import bare_model

Refused = Callable[..., str]


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small") / "photos"
    for split, count in (("train", 3), ("val", 2)):
        for shade, name in enumerate(("cat", "dog")):
            for index in range(count):
                path = root / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (32, 32), (shade * 200, index * 20, count)).save(path)
    return root


@pytest.fixture
def photos(small_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_data, tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def refused(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs a command that must be refused; returns what it says."""
    monkeypatch.chdir(tmp_path)

    def check(*arguments: object) -> str:
        before = tree(tmp_path)
        capsys.readouterr()
        assert cli([str(argument) for argument in arguments]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        assert tree(tmp_path) == before
        return " ".join(told.err.split())

    return check


@pytest.fixture
def sweep_file(photos: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file that is right, except for the given sections."""

    def write(**sections: Any) -> Path:
        sweep = {
            "data": {"root": "photos", "image_size": 32},
            "trial": TRIAL,
            "space": {"lr": {"log": [1e-3, 1e-2]}},
            "search": {"trials": 2},
            "tracking": {"wandb": {"mode": "disabled"}},
            **sections,
        }
        (tmp_path / "sweep.yaml").write_text(dump_yaml(sweep))
        return tmp_path / "sweep.yaml"

    return write


TRIAL = {"architecture": "test_efficientnet", "weights": "none", "strategy": "full", "epochs": 3}


def test_a_folder_that_is_not_there(sweep_file: Callable[..., Path], refused: Refused):
    message = refused("sweep", sweep_file(data={"root": "fotos", "image_size": 32}))
    assert "fotos: data.root must be a folder, got nothing there; check the path: expected are the folders" in message


def test_no_images(sweep_file: Callable[..., Path], photos: Path, refused: Refused):
    for image in photos.glob("val/*/*.png"):
        image.rename(image.with_suffix(".txt"))
    message = refused("sweep", sweep_file())
    assert "split val must hold images, got none: " in message
    assert " .txt); add some (.jpg," in message


def test_one_class(sweep_file: Callable[..., Path], photos: Path, refused: Refused):
    for folder in photos.glob("*/dog"):
        shutil.rmtree(folder)
    assert "needs at least two classes, got one (cat); add another class" in refused("sweep", sweep_file())


def test_a_class_that_train_lacks(sweep_file: Callable[..., Path], photos: Path, refused: Refused):
    (photos / "val" / "dog").rename(photos / "val" / "dogs")
    message = refused("sweep", sweep_file())
    assert "every class of val must also be in train, got dogs; add images of it to train, or rename it" in message
    assert "did you mean dog?" in message


def test_an_unreadable_image_is_named(sweep_file: Callable[..., Path], photos: Path, refused: Refused):
    image = photos / "val" / "dog" / "1.png"
    image.write_bytes(image.read_bytes()[:60])
    message = refused("sweep", sweep_file())
    assert f"{image}: image must be complete and readable, got" in message
    assert "replace or remove the file" in message


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        pytest.param(
            {"serach": {"trials": 2}}, ["sweep.yaml: serach: unknown key", "did you mean search"], id="unknown section"
        ),
        pytest.param(
            {"trial": {**TRIAL, "learning_rate": 1}}, ["trial.learning_rate: unknown key"], id="unknown setting"
        ),
        pytest.param(
            {"search": {"trails": 2}}, ["search.trails: unknown key", "did you mean trials"], id="unknown key"
        ),
        pytest.param({"search": {"trials": 0}}, ["search.trials: ", "must be at least 1, got 0"], id="too few"),
        pytest.param(
            {"space": {"lr": {"log": [0.1, 0.01]}}},
            ["space.lr: low must be below high, got low=0.1, high=0.01"],
            id="low above high",
        ),
        pytest.param(
            {"space": {"lr": {"log": [1e-3, 1e-2], "when": {"stratgy": "full"}}}},
            ["space.lr.when.stratgy: unknown dimension", "did you mean strategy?"],
            id="condition on nothing",
        ),
        pytest.param(
            {
                "trial": {key: value for key, value in TRIAL.items() if key != "strategy"} | {"lr": 1e-3},
                "space": {
                    "strategy": {"choice": ["head", "progressive"]},
                    "unfreeze_epoch": {"int": [1, 5], "when": {"strategy": "progressive"}},
                },
            },
            ["unfreeze_epoch must be below epochs, got unfreeze_epoch=5, epochs=3", "strategy head"],
            id="never thaws",
        ),
        pytest.param(
            {"trial": {**TRIAL, "architecture": "resnet51"}},
            ["architecture must be a timm model name, got 'resnet51'", "did you mean", "resnet50"],
            id="unknown architecture",
        ),
        pytest.param(
            {"trial": {**TRIAL, "strategy": "partial", "trainable_stages": 50}},
            ["test_efficientnet: ", "trainable", "50"],
            id="too many stages",
        ),
        pytest.param(
            {"trial": {**TRIAL, "weights": "mine.safetensors"}},
            ["weights file must exist, got ", "mine.safetensors", "choose other weights"],
            id="no weights",
        ),
        pytest.param(
            {"search": {"points": [{"lr": 1.0}]}}, ["search.points[0].lr: must be from", "got 1.0"], id="point outside"
        ),
        pytest.param({"search": {"points": "nowhere.yaml"}}, ["nowhere.yaml", "must exist"], id="no points file"),
        pytest.param({"search": {"sampler": "grid"}}, ["a grid needs countable values", "choice"], id="endless grid"),
        pytest.param(
            {"objective": {"metric": "val/f1"}}, ["objective.metric: must be one of", "got 'val/f1'"], id="no metric"
        ),
    ],
)
def test_a_sweep_file(sections: dict[str, Any], words: list[str], sweep_file: Callable[..., Path], refused: Refused):
    message = refused("sweep", sweep_file(**sections))
    assert [word for word in words if word not in message] == [], message


def test_weights_of_another_architecture(sweep_file: Callable[..., Path], tmp_path: Path, refused: Refused):
    weights = tmp_path / "weights" / "test_efficientnet.safetensors"
    weights.parent.mkdir()
    save_file(dict(bare_model("test_resnet", 2).state_dict()), weights)
    data = {"root": "photos", "image_size": 32, "weights_dir": "weights"}
    message = refused("sweep", sweep_file(data=data, trial={**TRIAL, "weights": "pretrained"}))
    assert f"weights must fit the architecture test_efficientnet, got {weights}: " in message
    assert "give the file of this architecture" in message


def test_a_sweep_file_that_cannot_be_read(tmp_path: Path, refused: Refused):
    assert "nowhere.yaml: file must exist, but there is none; check the path" in refused("sweep", "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("data: {root: photos\nspace: [")
    assert "broken.yaml: line 2, column 6: must be valid YAML" in refused("sweep", "broken.yaml")
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    assert "key 'name' is given twice" in refused("sweep", "twice.yaml")
    assert "must be a readable text file" in refused("sweep", tmp_path)


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefgh"))
DEEP = "a: " + "[" * 60 + "]" * 60


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: &a [*a]", "an alias must not lie inside of the value that it repeats"),
        ("trial: &a {epochs: *a}", "an alias must not lie inside of the value that it repeats"),
        (LAUGHS, "must hold at most 1,000,000 values, got 3.5e+07"),
        (DEEP, "values must be at most 50 deep, got 61"),
        ("a: " + "[" * 3000, "must be valid YAML"),
        ("a: !!bool maybe", "line 1, column 4: must be valid YAML, got: 'maybe' is not a value of the kind bool"),
        ("a: !!timestamp x", "line 1, column 4: must be valid YAML, got: 'x' is not a value of the kind timestamp"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: 0x" + "f" * 5000, "numbers must be below 1e308"),
        ("? [a]\n: 1", "must be valid YAML"),
        (b"\xff\xfea\0", "must be a readable text file in UTF-8, got other bytes"),
        (b"", "must hold `key: value` lines, got nothing"),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("command", [("space",), ("trial",), ("data", "preview"), ("import-config",)], ids=str)
def test_an_odd_document(
    command: tuple[str, ...], content: str | bytes, words: str, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "odd.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(*command, "odd.yaml")
    assert "odd.yaml: " in message
    assert words in message


@pytest.mark.parametrize("path", ["a" * 300, "a/" * 2500, "a\0b"], ids=["name", "path", "NUL"])
@pytest.mark.parametrize(
    "command",
    [
        *(["space"], ["sweep"], ["trial"], ["explain"], ["plan"], ["doctor"], ["data", "preview"], ["import-config"]),
        *(["leaderboard"], ["status"], ["logs"], ["stop"], ["resume"], ["extend"], ["evaluate"], ["retrain"]),
        *(["export"], ["init"], ["demo"], ["predict", "model.onnx"], ["init", "--data"], ["doctor", "--cache"]),
    ],
    ids=" ".join,
)
def test_a_path_that_no_file_system_holds(command: list[str], path: str, refused: Refused) -> None:
    message = refused(*command, path)
    assert " path must" in message or " in a path must" in message
    assert len(message) < 400


@pytest.mark.parametrize("key", ["data.root", "data.manifest", "data.weights_dir", "storage.root", "storage.cache_dir"])
def test_a_path_in_a_file_that_no_file_system_holds(key: str, sweep_file: Callable[..., Path], refused: Refused):
    message = refused("sweep", sweep_file(), "--set", f"{key}={'a' * 300}")
    assert f"{key}: each name in a path must have at most 255 bytes, got '" in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective=5", "objective: must be a section with the keys metric, mode, got 5; write {metric: ...}"),
        ("tracking.tensorboard=5", "tracking.tensorboard: must be a section with the keys folder, got 5"),
        ("budget=5", "budget: must be a section with the keys wall_clock"),
        ("name=a b", "name: must be at most 64 letters, digits, dots, dashes and underscores"),
        (f"name={'a' * 300}", "choose another, e.g. aaaa"),
        ("storage.root=", "storage.root: must be a folder or s3://bucket/prefix, got None; name one, e.g. runs"),
        ("search.trials=many", "search.trials: must be a whole number, got 'many'"),
        ("search.warm_start=there", "search.warm_start: must be a list, or none, got 'there'; write ['there']"),
        ("trial.epochs=[1, 2]", "trial.epochs: must be one value, got [1, 2]; to try several, move it: space.epochs"),
        (
            "space.optimizer=[adam, sgd]",
            "space.optimizer: must be a domain, got ['adam', 'sgd']; write {choice",
        ),
        ("trial.learning_rate=1", "trial.learning_rate: unknown key; did you mean lr?"),
        ("search.sampler=foo", "must be one of tpe, gp, random, qmc, grid, nsga2, got 'foo'; choose one of them"),
        ("space.lr={float: [1, 1" + "0" * 400 + "]}", "numbers must be below 1e308"),
        ("space.lr.log.\u00b2=1", "a list's entry is named by its number"),
        ("space.unfreeze_epoch={int: [1, 2]}", "`when: {strategy: progressive}`"),
        ("search.trials=1e30", "search.trials: must be at most 1000000, got 1e+30; lower it"),
        ("search.trials=.inf", "search.trials: must be at most 1000000, got inf; lower it"),
        ("trial.batch_size=1e12", "trial.batch_size: must be at most 1000000, got"),
        ("trial.clip_norm=.inf", "trial.clip_norm: must be a finite number, or none, got inf"),
        ("trial.warmup_epochs=.nan", "trial.warmup_epochs: must be a finite number, got nan"),
        ("resources.workers=1000000000", "resources.workers: must be at most 10000, got 1000000000"),
        ("budget.gpu_hours=.inf", "budget.gpu_hours: must be a finite number, or none, got inf"),
        (f"budget.wall_clock={'9' * 400}d", "budget.wall_clock: must be a finite number"),
        ("stopping.asha.grace=1e9", "stopping.asha.grace: must be at most 10000, got"),
        (
            "trial.weights=imagenet",
            "trial.weights: must be pretrained, none or a path, got 'imagenet'; did you mean pretrained?",
        ),
        ("trial.weights=true", "trial.weights: must be pretrained, none or a path, got True; did you mean pretrained?"),
        ("space.weights={choice: [none, random]}", "got 'random'; did you mean none?"),
        ("space.batch_size={int: ['8', 16]}", "low and high must be whole numbers, got '8'; write them without quotes"),
        ("space.lr={log: 1e-3}", "space.lr.log: must be [low, high], got 0.001; write two numbers"),
    ],
)
def test_an_odd_value(override: str, words: str, sweep_file: Callable[..., Path], refused: Refused):
    assert words in refused("space", sweep_file(), "--set", override)


def test_a_resume_changes_nothing(refused: Refused):
    message = refused("resume", "my runs/a", "--set", "search.trials=9")
    assert "change them: thaw extend 'my runs/a' --set search.trials=9" in message


@pytest.mark.parametrize("command", ["sweep", "space", "plan", "doctor"])
def test_a_trial_s_file_is_no_sweep_file(command: str, tmp_path: Path, refused: Refused):
    trial = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 1, "lr": 1e-3}
    (tmp_path / "my trial.yaml").write_text(dump_yaml(trial))
    message = refused(command, "my trial.yaml")
    assert (
        "must be a sweep file, with `space` and the like, got a trial's file with `architecture` at the top" in message
    )
    assert "run it with `thaw trial 'my trial.yaml'`" in message


def test_a_configuration_of_another_tool_is_no_trial_s_file(tmp_path: Path, refused: Refused):
    (tmp_path / "old.yaml").write_text("model: resnet18\nfreeze_backbone: true\nepochs: 3\n")
    message = refused("trial", "old.yaml")
    assert "must be a trial's file, with `architecture` and `strategy`, got the keys ['model', " in message
    assert "becomes one with `thaw import-config old.yaml`" in message


UNWRITABLE = "/proc/1/none"


@pytest.mark.parametrize(
    "command",
    [
        ("init", f"{UNWRITABLE}/s.yaml"),
        ("demo", UNWRITABLE),
        ("import-config", "old.yaml", "--out", f"{UNWRITABLE}/t.yaml"),
        ("data", "preview", "sweep.yaml", "--out", f"{UNWRITABLE}/p.png"),
        ("sweep", "sweep.yaml", "--set", f"storage.root={UNWRITABLE}"),
        ("trial", "trial.yaml", "--out", UNWRITABLE),
    ],
    ids=lambda command: command[0],
)
def test_a_place_where_nothing_can_be_written(
    command: tuple[str, ...], sweep_file: Callable[..., Path], tmp_path: Path, refused: Refused
):
    sweep_file()
    (tmp_path / "old.yaml").write_text("model: resnet18\n")
    (tmp_path / "trial.yaml").write_text(dump_yaml({"data": {"root": "photos", "image_size": 32}, **TRIAL, "lr": 0.1}))
    message = refused(*command)
    assert "/proc/1" in message
    assert "choose another" in message


def test_a_sweep_file_is_no_trial_s_file(sweep_file: Callable[..., Path], refused: Refused):
    message = refused("trial", sweep_file())
    assert "must be a trial's file" in message
    assert "run it with `thaw sweep " in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("search.trials", ["--set must be key=value, got 'search.trials'", "for example"]),
        ("=3", ["--set must be key=value"]),
        ("search.trials=many", ["search.trials: ", "got 'many'"]),
        ("search.trials.more=1", ["--set search.trials.more: trials must be a section, got 2"]),
        ("space.lr={log: [1e-3", ["--set space.lr", "must be valid YAML"]),
    ],
)
def test_an_override(override: str, words: list[str], sweep_file: Callable[..., Path], refused: Refused):
    message = refused("sweep", sweep_file(), "--set", override)
    assert [word for word in words if word not in message] == [], message


def test_a_run_folder_that_is_taken(sweep_file: Callable[..., Path], tmp_path: Path, refused: Refused):
    (tmp_path / "runs" / "sweep").mkdir(parents=True)
    (tmp_path / "runs" / "sweep" / "notes.txt").write_text("mine")
    message = refused("sweep", sweep_file())
    assert "run folder must be new, got " in message
    assert "thaw resume" in message
    assert "--name" in message
    (tmp_path / "runs" / "other").write_text("a file")
    assert "which is a file; choose another name with --name" in refused("sweep", sweep_file(), "--name", "other")
    assert "name: " in refused("sweep", sweep_file(), "--name", "../escape")


@pytest.mark.parametrize(
    "command", ["resume", "status", "leaderboard", "evaluate", "retrain", "export", "stop", "logs"]
)
def test_a_run_that_is_none(command: str, tmp_path: Path, refused: Refused):
    assert "nowhere: a run must be an existing folder, got none" in refused(command, "nowhere")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert "photos: a run must have a run.json, found a.jpg" in refused(command, "photos")
    # `retrain` takes a trial's file too.
    wrong = "must hold `key: value` lines" if command == "retrain" else "a run must be a folder, got a file"
    assert f"photos/a.jpg: {wrong}" in refused(command, "photos/a.jpg")


def test_an_empty_run(
    tmp_path: Path, photos: Path, refused: Refused, capsys: pytest.CaptureFixture[str], cache_dir: Path
):
    run = RunFolder(tmp_path / "runs" / "empty")
    write_run(run)
    for command in ("evaluate", "retrain", "export"):
        message = refused(command, run.root)
        assert f"no trial of {run.root} is COMPLETED, got no trials; launch the sweep" in message
    assert "must be running to be stopped" in refused("stop", run.root)
    assert "there are none" in refused("logs", run.root, "0000")
    assert "sweep.yaml: file must exist" in refused("resume", run.root)
    before = tree(tmp_path)
    for command in ("leaderboard", "status"):
        assert cli([command, str(run.root)]) == 0
        assert cli([command, str(run.root), "--format", "json"]) == 0
    told = capsys.readouterr()
    assert "no trials yet" in told.err
    assert "0 of 3 trials done: none yet" in told.out
    assert tree(tmp_path) == before


def test_a_run_whose_data_has_changed(sweep_file: Callable[..., Path], photos: Path, tmp_path: Path, refused: Refused):
    spec = load(sweep_file())
    run = RunFolder(spec.run_root)
    write_run(run, fingerprint=preflight(spec).fingerprints.trained)
    run.sweep_yaml.write_text(spec.to_yaml())
    image = photos / "train" / "cat" / "0.png"
    content = image.read_bytes()
    image.write_bytes((photos / "train" / "dog" / "0.png").read_bytes())
    message = refused("resume", run.root)
    assert "a run must go on with the images it began with, but they have changed since; restore them" in message
    image.unlink()
    assert "they have changed" in refused("resume", run.root)
    image.write_bytes(content)
    photos.rename(tmp_path / "fotos")
    assert "data.root must be a folder, got nothing there" in refused("resume", run.root)


def test_predict(tmp_path: Path, photos: Path, refused: Refused):
    assert "nowhere.onnx: no such model; check the path" in refused("predict", "nowhere.onnx", "photos")
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    message = refused("predict", "model.onnx", "photos")
    assert "must be an ONNX model, got a file that is not" in message
    assert "thaw export RUN" in message
    assert "photos: must be an ONNX file, got a folder" in refused("predict", "photos", "photos")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model: random weights of the smallest network, and a photo to measure them on."""
    photo = io.BytesIO()
    Image.new("RGB", (32, 32)).save(photo, "PNG")
    preprocessing = Preprocessing(image_size=32, resize_mode="squash", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    network = bare_model("test_efficientnet", 2)
    config = {"architecture": "test_efficientnet", "lr": 1e-3, "data": {"root": "photos"}}
    folder = tmp_path_factory.mktemp("bundle")
    photos = [("a.png", photo.getvalue())]
    return export_bundle(network, ("cat", "dog"), preprocessing, config, "sha256:0", photos, folder).model


def test_predict_a_missing_image(model: Path, tmp_path: Path, refused: Refused):
    assert "nowhere.jpg: no such image; check the path" in refused("predict", model, "nowhere.jpg")
    (tmp_path / "photos").mkdir()
    assert "photos: no image in this folder; name one that holds .jpg" in refused("predict", model, "photos")
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no image")
    assert "photos/a.jpg: image must be complete and readable" in refused("predict", model, "photos")
    assert "--top" in refused("predict", model, "photos", "--top", "0")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochz": 3}, ["trial.yaml: epochz: unknown key", "did you mean epochs"]),
        ({"lr": 0}, ["trial.yaml: lr: ", "must be above 0, got 0"]),
        ({"lr": 1e-3, "strategy": "partial"}, ["strategy partial needs `trainable_stages`"]),
        ({"lr": 1e-3, "architecture": "resnet51"}, ["got 'resnet51'", "resnet50"]),
        ({"lr": 1e-3, "data": {"root": "fotos"}}, ["fotos: data.root must be a folder"]),
    ],
)
def test_a_trial(values: dict[str, Any], words: list[str], tmp_path: Path, photos: Path, refused: Refused):
    config = {"data": {"root": "photos", "image_size": 32}, **TRIAL, **values}
    (tmp_path / "trial.yaml").write_text(dump_yaml(config))
    message = refused("trial", "trial.yaml")
    assert [word for word in words if word not in message] == [], message


def test_a_trial_in_a_folder_that_is_taken(tmp_path: Path, photos: Path, refused: Refused):
    (tmp_path / "trial.yaml").write_text(dump_yaml({"data": {"root": "photos", "image_size": 32}, **TRIAL, "lr": 1e-3}))
    message = refused("trial", "trial.yaml", "--out", "photos")
    assert "photos: must be a new folder, but it is not empty; choose another --out, or add --resume" in message
    assert "must be a folder, but it is a file; choose another --out" in refused(
        "trial", "trial.yaml", "--out", "trial.yaml"
    )


def test_the_command_line_itself(refused: Refused):
    assert "No such command 'swep'" in refused("swep")
    assert "--trials" in refused("sweep", "sweep.yaml", "--trials", "3")
    assert "missing argument 'file'" in refused("sweep").lower()
    assert "nonsense" in refused("init", "new.yaml", "--preset", "nonsense")


def write_run(run: RunFolder, fingerprint: str = "sha256:0") -> None:
    """The record of a run whose trials have not begun."""
    values = {
        "name": run.root.name,
        "objective": Objective(),
        "space": {},
        "distributions": {},
        "created": "2026-01-01T00:00:00Z",
        "classes": ("cat", "dog"),
        "fingerprint": fingerprint,
        "sample_counts": {"train": 6, "val": 4},
        "trials_planned": 3,
        "versions": {},
    }
    Ledger(run).write_run(RunRecord.model_validate(values))


def tree(root: Path) -> dict[str, bytes]:
    """Every folder and file below `root`, with its bytes."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in root.rglob("*")}
