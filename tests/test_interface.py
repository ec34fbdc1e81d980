"""The names that machines read: none vanishes or changes, and none is added without a reason.

`interface.json` has the names of the last commit before the rooms (d560e6c), as `collect` found them there. It is never
written anew: a name that is new stands in `ADDED` instead, by a pattern and with its reason, and a default that has
changed stands in `CHANGED`.
"""

import ast
import csv
import inspect
import io
import json
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest import mock

import onnxruntime
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image
from pydantic import BaseModel

from analysis.heartbeat import Heartbeat
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from orchestrator.commands.app import make_app
from orchestrator.planning import subprocess_runner
from orchestrator.search.warm_start import WarmStart
from orchestrator.spec.loading import load
from orchestrator.terminal.event_log import EventLog
from orchestrator.tracking.observer import SweepEnding, SweepStart, SweepStatus
from search_spaces.documents import dump_yaml
from search_spaces.errors import ThawError
from trainables.checkpoint_state import CheckpointState
from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.result import EpochReport, TrialResult
from trainables.status import Status
from trainables.storage.folders import cache_folder

ROOT = Path(__file__).parents[1]
ROOMS = ("search_spaces", "trainables", "analysis", "orchestrator")
RECORDS: dict[str, type[BaseModel]] = {
    "run.json": RunRecord,
    "trials/*.json": TrialResult,
    "driver.json": Heartbeat,
    "warm_start.json": WarmStart,
    "checkpoints/*/*/state.json": CheckpointState,
}
ENVIRONMENT = re.compile(r"(THAW|AWS|WANDB)_[A-Z0-9_]+|NETRC|RAY_ADDRESS")
CLASSES = ("class_a", "class_b", "class_c", "class_d")
METRIC = re.compile(r"(train|val|test|best|lr|time)/\w*")

ADDED: dict[str, str] = {
    "*data.folds*": "heads are measured by cross-validation on small sets",
    "records: *reports.folds": "an epoch has the values of each fold",
    "config: task*": "a task is named; classification by default",
    "sweep file: task*": "a task is named; classification by default",
    "config: *_* = none": "the schema allows a word that was read all along",
    "config: patience = none": "the schema allows a word that was read all along",
    "*norm_stats*": "statistics of BatchNorm in thawed stages can stay those of the weights",
    "*head_init*": "the head can start at the linear probe",
    "sweep file: search.probe = *": "auto probes where it costs little",
    "printed: plan probing": "linear probes before a sweep cost time",
    "commands: plan *": "a plan has a price, and is for several machines or a cluster",
    "printed: plan price*": "a plan has a price",
    "printed: plan *.money*": "a plan says what a sweep costs in money",
    "printed: plan measured_on": "a plan for a cluster names the node that was measured",
    "printed: plan nodes*": "a plan names the machines that it is for",
    "exit codes: typer.Exit = 1": "`thaw wandb sync` ends with 1 where W&B differs from the ledger",
    "files: export/export.json": "an export says of which trial it is",
    "records: *reports.cached": "an epoch says whether its features came from the cache",
    "records: *flops": "a trial says what a forward pass of its model costs",
    "printed: * fingerprint": "two measurements compare where they are of the same images",
    "records: *rungs*": "a trial says which rungs are on its way, and where it is exempt",
    "metrics: val/classes": "the scores by class are a table of a trial in W&B",
    "metrics: val/confusion_matrix": "the confusion matrix is a table of a trial in W&B",
    "records: run.json attempts": "a trial that W&B cannot be made to hold is sent again under a new id",
    "*_parameters": "the size of a model, and of what was trained of it, belongs to a leaderboard",
    "commands: report*": "a run is shown as a page",
    "commands: dashboard*": "runs are shown while they run",
    "environment: THAW_DASHBOARD_TOKEN": "a token lets a page of the dashboard stop and resume runs",
    "commands: benchmark*": "what an exported model costs on a machine is measured",
    "commands: predict --*": "predictions can be of an image and its mirror image, and CSV, and withheld",
    "commands: export --*": "smaller forms of a model are made where they lose little",
    "*calibration*": "an export says how far its probabilities can be trusted",
    "files: export/model_card.md": "an export says for people what the model is worth",
    "files: export/timm*": "the export is the model as timm stores it, too",
    "commands: compare*": "two trials of a run stand side by side",
    "commands: leaderboard --*": "a leaderboard can be filtered, ordered, and printed for other programs",
    "files: tracked.jsonl": "a resumed run gives each tracker what a kill has kept from it",
    "sweep file: tracking.wandb.entity*": "runs can be those of a team",
    "sweep file: tracking.wandb.log_model*": "weights are kept in W&B where that is asked for",
    "wandb: summary *": "the summary of a trial in W&B is its best epoch, under the plain names",
    "records: winner/retrain.json *": "W&B is made equal to the retrained winner too",
    "commands: retrain --data": "a trial that is read back from W&B had its photos elsewhere",
    "*decay_to*": "weight decay can pull towards the start",
    "sweep file: trial.* = none": "the schema allows a word that was read all along",
    "sweep file: tracking.tensorboard*": "TensorBoard is a second tracker",
    "sweep file: tracking.mlflow*": "MLflow is a third tracker",
    "metrics: best/*": "the summary run of a sweep names its best trial",
    "records: driver.json *": "the heartbeat is a numbered claim, and says how its process is recognized",
    "environment: WANDB_SERVICE": "W&B's own, not handed to the process of an online tracker, which may be ended",
    "records: run.json uid*": "ids in W&B begin with it, so that runs of one name do not share them",
    "commands: wandb*": "a run is published to W&B as a saved workspace and a report",
    "files: published.json": "a second publication replaces the pages of the first",
    "commands: submit --resume": "a run is resumed from a machine outside of the cluster",
    "commands: submit --extend": "a run is extended from a machine outside of the cluster",
    "commands: submit --trials*": "a run is extended from a machine outside of the cluster",
    "commands: resume --set": "it is refused with the command that changes a run",
    "commands: * --trial": "export, evaluate and predict take any trial",
    "commands: * --rank": "export, evaluate and predict take any trial",
    "files: exports/*": "another trial than the winner is exported to a folder of its own",
    "exit codes: BadImages*": "all bad images are listed in JSON",
    "*data.test*": "a split without labels can be left out",
    "*data.on_bad_image*": "images that cannot be decoded can be left out",
    "records: run.json skipped_images*": "a run says which images it has left out",
    "printed: *.skipped_images": "a leaderboard says how many images its runs have left out",
    "printed: data preview bad_images*": "all bad images are listed in JSON, also where they are left out",
    "*data.train_on*": "the winner can be trained on the images of val too",
    "commands: retrain --address": "the winner is trained on a cluster, as its trials were",
    "commands: retrain --on*": "the winner can be trained on the images of val too",
    "records: winner/retrain.json on*": "a retraining says on what",
    "config: teacher*": "a trial may learn from another model",
    "sweep file: *.teacher*": "a trial may learn from another model",
    "commands: confirm*": "finalists are trained again under several seeds",
    "commands: retrain --trial": "another trial than the first may be retrained",
    "commands: retrain --rank": "another trial than the first may be retrained",
    "records: winner/retrain.json is_chosen*": "a trial that a user retrained is the one that is exported",
    "records: run.json sources*": "a trial on other weights than its run began with is refused",
    "records: run.json confirms*": "the trainings of finalists are shown in the group of their search",
    "files: confirm*": "finalists are trained in a run of their own within the run of the search",
    "*data.format*": "photos are read in the formats of other programs, too",
    "*data.split*": "photos that are not split are divided",
    "commands: data check*": "everything that is wrong with a data set is said at once",
    "records: run.json data_remarks*": "a run says what is equal or alike in its images",
    "*data.allow*": "a sweep may be let begin with equal files",
    "commands: data split*": "photos are divided into files",
    "*data.max_pixels*": "the limit for an image that is safe to decode can be raised and lowered",
    "onnx: thaw.*": "a model says how many images were left out, and to how many pixels one is decoded",
    "printed: data preview remarks*": "the look at the data says what was left out",
    "*weights_layout*": "weights can be matched by order, where their names are unknown",
    "records: *metrics_version*": "a run keeps the definitions of the metrics with which it began",
    "records: checkpoints/*/*/state.json frozen_digest": "a checkpoint names the weights that complete it",
    "commands: data stats*": "a data set is counted, measured and probed",
    "commands: data balance*": "the answers to imbalance are compared on one's own photos",
    "commands: init --root": "the folder of a manifest that is measured",
    "commands: init --weights": "photos that are measured are probed with the weights of a folder",
    "printed: data stats *": "a data set is counted, measured and probed",
    "records: run.json class_counts*": "a run says how many images of each class it has",
    "records: run.json photo_sizes*": "a run says how large the photos are",
    "records: *status = default RUNNING": "a new trial is RUNNING; records always hold the status",
}
"""Names that came later: a pattern (`fnmatch`) of the printed form, `section: name` or `section: name = word`; why.

A bracket has a meaning in a pattern: `*` stands for it.
"""

CHANGED: dict[str, str] = {
    "commands: init --preset = default quickstart": "without it, measured photos decide; quickstart without --data",
    "commands: init --data = default photos": "it is the folder photos where a preset is written without it",
    "sweep file: search.probe = default false": "auto is the default; a run's own file says what it began with",
}
"""Defaults that have changed, as they were, in the printed form; why."""

Name = tuple[str, list[str]]
"""A name and its words: those that are allowed, and `default ...`."""

Interface = dict[str, dict[str, list[str]]]
"""Names and their words by section."""


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Collect the names of the code as it is, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_MODE", "WANDB_API_KEY"):
            patch.delenv(name, raising=False)
        folder = tmp_path_factory.mktemp("interface")
        patch.setenv("THAW_CACHE_DIR", str(folder / "cache"))
        return printed(collect(folder))


FROZEN: Interface = json.loads(Path(__file__).with_name("interface.json").read_text())


@pytest.mark.parametrize("section", FROZEN)
def test_no_name_vanishes_or_changes(section: str, today: set[str]) -> None:
    assert sorted(printed({section: FROZEN[section]}) - today - CHANGED.keys()) == []


def test_a_name_is_added_with_its_reason(today: set[str]) -> None:
    new = today - printed(FROZEN)
    undeclared = sorted(name for name in new if not any(fnmatchcase(name, pattern) for pattern in ADDED))
    assert undeclared == [], "\n".join(undeclared)
    assert [pattern for pattern in ADDED if not any(fnmatchcase(name, pattern) for name in new)] == []


def printed(interface: Interface) -> set[str]:
    """Print every name of an interface, and every word of a name, as one line."""
    return {
        line
        for section, names in interface.items()
        for name, words in names.items()
        for line in (f"{section}: {name}", *(f"{section}: {name} = {word}" for word in words))
    }


def collect(folder: Path) -> Interface:
    """Read the names from models, commands and sources, and from what the commands write in `folder`."""
    file, root = _write_sweep(folder), folder / "runs" / "sweep"
    _write_run(root, file)
    here = mock.patch.object(subprocess_runner, "SubprocessRunner", _InProcessRunner)
    with here, mock.patch("wandb.init") as wandb_init:
        documents = _documents(folder, file, root)
    retrained = json.loads((root / "winner" / "retrain.json").read_text())
    sections: dict[str, Iterable[str | Name]] = {
        "sweep file": _sweep_names(documents.pop("schema")),
        "commands": _command_names(typer.main.get_command(make_app())),
        "printed": (f"{command} {key}" for command, value in documents.items() for key in _keys(value)),
        "events": _events(file),
        "sweep statuses": typing.get_args(SweepStatus),
        "exit codes": _exit_codes(),
        "environment": _constants(ENVIRONMENT),
        "metrics": _constants(METRIC),
        "wandb": _wandb_names(wandb_init),
        "config": _schema_names(TrialConfig.model_json_schema(mode="serialization")),
        "records": [*_record_names(), *(f"winner/retrain.json {key}" for key in _keys(retrained))],
        "files": _files(root),
        "columns": _columns(root),
        "onnx": _metadata(root / "export" / "model.onnx"),
    }
    return {
        section: dict((name, []) if isinstance(name, str) else name for name in names)
        for section, names in sections.items()
    }


def _sweep_names(schema: Mapping[str, Any]) -> Iterator[Name]:
    for name, words in _schema_names(schema):
        yield re.sub(r"^space\.\w+\.", "space.*.", name), words


def _record_names() -> Iterator[Name]:
    for record, model in RECORDS.items():
        for key, words in _schema_names(model.model_json_schema(mode="serialization")):
            yield f"{record} {key}", words


def _write_sweep(folder: Path) -> Path:
    """Write four classes of eight tiny pictures, a sweep on them, and one trial."""
    for number, place in enumerate(f"{split}/{label}" for split in ("train", "val", "test") for label in CLASSES):
        (folder / "photos" / place).mkdir(parents=True)
        for shade in range(4 if place.startswith("train") else 2):
            Image.new("RGB", (32, 32), (number * 20, shade * 60, 0)).save(folder / "photos" / place / f"{shade}.png")
    sweep = {
        "data": {"root": str(folder / "photos"), "image_size": 32},
        "trial": {"weights": "none", "epochs": 4, "batch_size": 8},
        "space": {
            "architecture": {"choice": ["test_resnet", "unknown"]},
            "strategy": {"choice": ["head", "full"]},
            "lr": {"log": [1e-3, 1e-2]},
        },
        "search": {"trials": 5},
        "stopping": {"asha": {"grace": 1, "reduction": 2, "resource": "epochs"}},
        "tracking": {"wandb": {"mode": "offline"}},
    }
    (folder / "sweep.yaml").write_text(dump_yaml(sweep))
    point = {"architecture": "test_resnet", "strategy": "full", "lr": 1e-3, "epochs": 2}
    (folder / "trial.yaml").write_text(dump_yaml({"data": sweep["data"], **sweep["trial"], **point}))  # type: ignore[dict-item]
    return folder / "sweep.yaml"


def _write_run(root: Path, file: Path) -> None:
    """Write the records of a run with one finished trial."""
    folder, spec = RunFolder(root), load(file)
    fingerprint = load_arrays(spec.data, cache_folder(None)).fingerprints.trained
    empty: dict[str, Any] = {"distributions": {}, "sample_counts": {}, "versions": {}, "fingerprint": fingerprint}
    shared = {"name": spec.name, "objective": spec.objective, "space": spec.space, "classes": CLASSES}
    Ledger(folder).write_run(RunRecord(created=datetime.now(UTC), trials_planned=1, **shared, **empty))
    Ledger(folder).write_trial(_trial(file))
    folder.sweep_yaml.write_bytes(file.read_bytes())


def _trial(file: Path) -> TrialResult:
    point = {"architecture": "test_resnet", "strategy": "full", "lr": 1e-3}
    report = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5}, seconds=1, checkpoint="best")
    state = {"config": load(file).trial_config(point), "parameters": {"lr": 1e-3}, "reports": (report,)}
    return TrialResult(trial_id="0000", status=Status.COMPLETED, **state)


def _documents(folder: Path, file: Path, root: Path) -> dict[str, Any]:
    """Run every command that prints JSON; return what each has printed."""
    photo = folder / "photos" / "test" / CLASSES[0]
    json_format = ("--format", "json")
    commands: dict[str, tuple[object, ...]] = {
        "schema": (),
        "space": (file, *json_format),
        "doctor": (*json_format,),
        "data preview": (file, "--out", folder / "preview.png", *json_format),
        "data stats": (file, *json_format),
        "plan": (file, *json_format),
        "explain": (folder / "trial.yaml", *json_format),
        "leaderboard": (root, *json_format),
        "status": (root, *json_format),
        "retrain": (root, *json_format),
        "evaluate": (root, *json_format),
        "export": (root, *json_format),
        "predict": (root / "export" / "model.onnx", photo, *json_format),
    }
    return {command: _printed_by(*command.split(), *arguments) for command, arguments in commands.items()}


def _printed_by(*arguments: object) -> Any:
    with redirect_stdout(io.StringIO()) as out:
        code = run([str(argument) for argument in arguments])
    # What `doctor` finds depends on the machine; `plan` refuses an architecture that is not known.
    assert code == {"doctor": code, "plan": 2}.get(str(arguments[0]), 0), arguments
    return json.loads(out.getvalue())


def _keys(value: Any, path: str = "") -> Iterator[str]:
    """List the dotted keys of a JSON value; `[]` stands for the elements of a list, `*` for a class.

    The keys of a `config` are a section of their own.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            name = "*" if key in CLASSES else key
            yield (here := f"{path}.{name}" if path else name)
            yield from _keys(inner, here) if key != "config" else ()
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, f"{path}[]")


def _schema_names(schema: Mapping[str, Any]) -> Iterator[Name]:
    """List the dotted keys of a JSON schema, each with its allowed words and its default."""
    yield from _properties(schema, schema.get("$defs", {}), "")


def _properties(part: Mapping[str, Any], known: Mapping[str, Any], path: str) -> Iterator[Name]:
    words: list[str] = []
    for shape in _shapes(part, known):
        words += [_word(word) for word in shape.get("enum", [shape["const"]] if "const" in shape else [])]
        for name, inner in shape.get("properties", {}).items():
            here = f"{path}.{name}" if path else name
            yield from _properties({} if name == "config" else inner, known, here)
    default = part.get("default")
    if isinstance(default, str | int | float):
        words.append(f"default {_word(default)}")
    if path:
        yield path, words


def _word(value: str | float | bool) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _shapes(part: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """List all shapes of a value: alternatives, elements of arrays and values of mappings among them."""
    if "$ref" in part:
        yield from _shapes(known[part["$ref"].rpartition("/")[2]], known)
        return
    yield part
    inner = [*part.get("anyOf", ()), *part.get("prefixItems", ()), part.get("items"), part.get("additionalProperties")]
    for each in inner:
        if isinstance(each, Mapping):
            yield from _shapes(each, known)


def _command_names(command: Any, path: str = "") -> Iterator[Name]:
    """List commands and their parameters, with the words and the default of each."""
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{path}{name}", []
        yield from _command_names(inner, f"{path}{name} ")
    for parameter in command.params:
        words = [word.value for word in parameter.type_descriptor.choices or ()]
        if isinstance(parameter.default, str | int | Path):
            words.append(f"default {parameter.default}")
        is_option = parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts) if is_option else [parameter.name.upper()]:
            yield f"{path}{name}", words


def _events(file: Path) -> Iterator[str]:
    """List every event with its fields, from one event of each kind."""
    stream, spec = io.StringIO(), load(file)
    log, trial = EventLog(stream), _trial(file)
    log.on_start(SweepStart(spec.name, spec.run_root, spec.objective, spec.search.trials, ()))
    log.on_trial(trial.model_copy(update={"status": Status.RUNNING, "reports": ()}))
    log.on_trial(trial)
    log.on_closing("asked to")
    log.on_close(SweepEnding(spec.name, spec.run_root, "completed", "done", (trial,), trial))
    log.warning("careful")
    log.error("wrong", 2)
    for line in stream.getvalue().splitlines():
        event = json.loads(line)
        yield event["event"]
        yield from (f"{event['event']} {key}" for key in _keys(event))


def _exit_codes() -> Iterator[Name]:
    """List the code of each error, and the codes with which a command ends itself."""

    def below(error: type[ThawError]) -> Iterator[type[ThawError]]:
        yield error
        for inner in error.__subclasses__():
            yield from below(inner)

    yield from (
        (error.__name__, [str(error.exit_code)])
        for error in below(ThawError)
        if error.__module__ == ThawError.__module__
    )
    exits = {
        str(node.args[0].value)
        for tree in _trees("orchestrator")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit" and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    yield "typer.Exit", sorted(exits)


def _constants(pattern: re.Pattern[str]) -> Iterator[str]:
    """List the strings in the sources that match as a whole; the parts of an f-string are strings too."""
    constants = (
        node.value
        for room in ROOMS
        for tree in _trees(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
    )
    yield from sorted({text for text in constants if isinstance(text, str) and pattern.fullmatch(text)})


def _trees(room: str) -> Iterator[ast.Module]:
    for path in sorted((ROOT / room).rglob("*.py")):
        yield ast.parse(path.read_text())


class _InProcessRunner:
    """Stand-in for the processes of `thaw plan`, each of which takes seconds to import: calls in this one."""

    imports = 0.0

    def __init__(self, module: str) -> None:
        pass

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


def _wandb_names(init: mock.Mock) -> Iterator[Name]:
    """List what a run in W&B was given, by the calls of `wandb.init` and of its run."""
    run = init.return_value
    (settings,) = [call.kwargs for call in init.call_args_list if call.kwargs["job_type"] == "retrain"]
    yield from ((f"init {name}", [settings[name]]) for name in ("group", "id", "name", "job_type"))
    yield "init tags", list(settings["tags"])
    steps = run.define_metric.call_args
    yield f"step of {steps.args[0]}", [steps.kwargs["step_metric"]]
    yield from ((f"log {name}", []) for name in run.log.call_args.args[0])
    updates = [call.args[0] for call in run.summary.update.call_args_list]
    yield from ((f"summary {name}", []) for update in updates if "status" in update for name in update)
    yield "tags at the end", list(run.tags)


def _files(root: Path) -> Iterator[str]:
    """List the paths of a run, and the files that retraining and exporting write."""
    folder = RunFolder(root)
    for name, member in vars(RunFolder).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) and name != "local":
            yield str(getattr(folder, name).relative_to(root))
        elif inspect.isfunction(member) and list(inspect.signature(member).parameters) == ["self", "trial_id"]:
            yield str(getattr(folder, name)("0000").relative_to(root))
    for part in ("winner", "export"):
        yield from (str(path.relative_to(root)) for path in (root / part).rglob("*"))


def _columns(root: Path) -> Iterator[str]:
    board = root / "leaderboard.csv"
    Leaderboard.from_run(root).write_csv(board)
    for column in next(csv.reader(board.read_text().splitlines())):
        yield f"leaderboard.csv {column}"
    for column in pq.read_schema(root / "winner" / "predictions.parquet").names:
        yield f"predictions/*.parquet {re.sub('|'.join(CLASSES), '*', column)}"


def _metadata(model: Path) -> Iterator[Name]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    yield "inputs", [value.name for value in session.get_inputs()]
    yield "outputs", [value.name for value in session.get_outputs()]
    for name, text in session.get_modelmeta().custom_metadata_map.items():
        yield name, []
        yield from ((f"{name} {key}", []) for key in _keys(json.loads(text)) if name != "thaw.config")
