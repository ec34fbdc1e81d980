"""The four rooms: what may import what, what stays light, how long a module may be."""

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, TrialResult
from trainables.status import Status
from trainables.task_catalog import BUILT_IN

ROOT = Path(__file__).parents[1]
ROOMS = ("search_spaces", "trainables", "analysis", "orchestrator")
MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))

# Whoever reads a leaderboard or predicts with a model does not wait for these, nor has to install them.
HEAVY = ("torch", "torchvision", "timm", "accelerate", "ray", "optuna", "wandb", "onnx", "sklearn", "pandas")
LIGHT = (
    "analysis.ledger",
    "analysis.leaderboard",
    "trainables.config",
    "trainables.result",
    "trainables.task.task",
    "trainables.data.arrays",
    "trainables.data.preprocess",
    "trainables.bundle.predict",
    "trainables.loop.teacher",
    "orchestrator.cli",
    "orchestrator.cluster.doctor",
    "orchestrator.migrate.config",
)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)


def thaw_without_heavy_packages(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `thaw` in a Python in which no heavy package can be imported."""
    code = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); from orchestrator.cli import main; main()"
    return run_python(code, *arguments)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with two completed trials, the second better."""
    run = RunFolder(tmp_path / "runs" / "small")
    ledger = Ledger(run)
    ledger.write_run(
        RunRecord(
            name="small",
            objective=Objective(),
            space={},
            distributions={},
            created=datetime.now(UTC),
            classes=("a", "b"),
            fingerprint="0",
            sample_counts={"train": 2, "val": 2},
            trials_planned=2,
            versions={},
        )
    )
    for number, (lr, score) in enumerate([(0.1, 0.25), (0.01, 0.75)]):
        config = {"data": {"root": "photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 1, "lr": lr}
        report = EpochReport(epoch=1, metrics={"val/macro_f1": score}, seconds=1, checkpoint="best", ended_by="budget")
        ledger.write_trial(
            TrialResult(
                trial_id=f"{number:04d}",
                config=TrialConfig.from_mapping(config, "test"),
                parameters={"lr": lr},
                status=Status.COMPLETED,
                reports=(report,),
            )
        )
    return run.root


def test_the_import_contracts_are_kept() -> None:
    result = run_python("from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


def test_every_room_is_under_the_contracts() -> None:
    tracked = {path.parts[0] for path in MODULES}
    assert tracked == set(ROOMS)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(ROOMS), "a package beside the four rooms escapes the import contracts"


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    result = run_python(f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_a_leaderboard_is_read_without_the_training_stack(run_folder: Path) -> None:
    result = thaw_without_heavy_packages("leaderboard", str(run_folder), "--format", "json")
    assert result.returncode == 0, result.stderr
    assert [(entry["rank"], entry["trial_id"]) for entry in json.loads(result.stdout)] == [(1, "0001"), (2, "0000")]
    table = thaw_without_heavy_packages("leaderboard", str(run_folder))
    assert table.returncode == 0, table.stderr
    assert "0.7500" in table.stdout


def test_status_and_logs_work_without_the_training_stack(run_folder: Path) -> None:
    log = RunFolder(run_folder).log("0001")
    log.parent.mkdir()
    log.write_text("epoch 1\n")
    status = thaw_without_heavy_packages("status", str(run_folder), "--format", "json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["trials"] == {"COMPLETED": 2}
    assert thaw_without_heavy_packages("logs", str(run_folder), "0001").stdout == "epoch 1\n"


def test_predict_is_reached_without_the_training_stack(tmp_path: Path) -> None:
    assert thaw_without_heavy_packages("predict", "--help").returncode == 0
    result = thaw_without_heavy_packages("predict", str(tmp_path / "model.onnx"), str(tmp_path))
    assert result.returncode == 2
    assert "no such model" in result.stderr


def test_help_is_shown_without_the_training_stack() -> None:
    assert "leaderboard" in thaw_without_heavy_packages("--help").stdout


REFUSED = {
    "explain": "strategy: head\n",
    "trial": "strategy: head\n",
    "sweep": "name: s\n",
    "plan": "name: s\n",
    "submit --address http://127.0.0.1:1": "name: s\n",
    "doctor": "name: s\n",
    "import-config": "epochs: 3\n",
}
"""Commands that refuse a file before they import packages that take seconds, each with such a file."""


@pytest.mark.parametrize("command", REFUSED)
def test_a_bad_file_is_refused_without_the_training_stack(tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.yaml").write_text(REFUSED[command])
    result = thaw_without_heavy_packages(*command.split(), str(tmp_path / "bad.yaml"))
    assert result.returncode == 2, result.stderr
    assert "bad.yaml" in result.stderr


def test_a_missing_folder_of_images_is_refused_without_the_training_stack(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text("data: {root: photos}\narchitecture: resnet18\nstrategy: head\nepochs: 1\nlr: 0.1\n")
    result = thaw_without_heavy_packages("explain", str(file))
    assert result.returncode == 2, result.stderr
    assert "photos" in result.stderr


def test_weights_are_found_without_timm() -> None:
    result = run_python("import sys, trainables.model.weights; print('timm' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


def test_a_command_that_trains_says_what_to_install(run_folder: Path) -> None:
    result = thaw_without_heavy_packages("retrain", str(run_folder))
    assert result.returncode == 1
    assert "thaw[train]" in result.stderr
    assert "Traceback" not in result.stderr


def test_modules_hold_one_concept() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length >= 400} == {}
    assert median(lengths.values()) < 150


def test_folders_hold_one_kind_of_thing() -> None:
    modules = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {folder: count for folder, count in modules.items() if count > 16} == {}


def definitions(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Every function, method and class of a module, nested ones too."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    own = function.args
    return [*own.posonlyargs, *own.args, *own.kwonlyargs]


def test_functions_are_short_and_constructors_take_few_arguments() -> None:
    long, wide = {}, {}
    for path in MODULES:
        for node in definitions(path):
            if not isinstance(node, ast.FunctionDef):
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > (40 if node.name == "drive" else 50):
                long[f"{path}: {node.name}"] = lines
            if node.name == "__init__" and len(parameters(node)) - 1 > 6:
                wide[str(path)] = len(parameters(node)) - 1
    assert long == {}
    assert wide == {}


# Functions below the driver that take a whole SweepSpec, each with its reason.
TAKE_A_SWEEP = {
    ("orchestrator/planning/plan.py", "make_plan"): "a plan forecasts the whole file, and keeps it for its report",
    ("orchestrator/spec/loading.py", "_check"): "checks what sections say of one another",
    ("orchestrator/spec/loading.py", "_check_names"): "checks the names of two sections against the task",
}
BELOW_DRIVER = ("spec", "migrate", "tracking", "search", "cluster", "worker", "results", "tuner", "planning")


def below_the_driver() -> list[Path]:
    return [path for path in MODULES if path.parts[0] == "orchestrator" and path.parts[1] in BELOW_DRIVER]


def test_below_the_driver_functions_take_what_they_need() -> None:
    found = {
        (str(path), node.name)
        for path in below_the_driver()
        for node in definitions(path)
        if isinstance(node, ast.FunctionDef)
        for parameter in parameters(node)
        if parameter.annotation is not None and "SweepSpec" in ast.unparse(parameter.annotation)
    }
    assert found == set(TAKE_A_SWEEP)


def test_no_bag_takes_the_place_of_the_sweep_file() -> None:
    """A parameter object of more than ten fields, of which a function reads fewer than half, is a bag."""
    fields = {
        node.name: {entry.target.id for entry in node.body if isinstance(entry, ast.AnnAssign)}
        for path in MODULES
        if path.parts[0] in ("analysis", "orchestrator")
        for node in definitions(path)
        if isinstance(node, ast.ClassDef)
    }
    large = {name: own for name, own in fields.items() if len(own) > 10 and name != "SweepSpec"}
    assert "Plan" in large, "or this test looks at nothing"
    bags = []
    for path in below_the_driver():
        for node in definitions(path):
            if not isinstance(node, ast.FunctionDef):
                continue
            read = {
                (part.value.id, part.attr)
                for part in ast.walk(node)
                if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
            }
            for parameter in parameters(node):
                kind = "" if parameter.annotation is None else ast.unparse(parameter.annotation)
                used = {attribute for name, attribute in read if name == parameter.arg}
                if kind in large and 2 * len(used & large[kind]) < len(large[kind]):
                    bags.append(f"{path}: {node.name} takes {kind}")
    assert bags == []


def test_one_module_assigns_the_status_of_a_trial() -> None:
    """Elsewhere a status is compared, or is a key; `trainables/result.py` holds the default of a new trial."""
    assigning = set()
    for path in MODULES:
        tree = ast.parse((ROOT / path).read_text())
        asked = {
            id(part)
            for node in ast.walk(tree)
            for question in (
                [node]
                if isinstance(node, ast.Compare | ast.match_case)
                else [key for key in node.keys if key is not None]
                if isinstance(node, ast.Dict)
                else []
            )
            for part in ast.walk(question)
        }
        for node in ast.walk(tree):
            is_status = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Status" and node.attr.isupper()
            if is_status and id(node) not in asked:
                assigning.add(str(path))
    assert assigning == {"orchestrator/tuner/trial_states.py", "trainables/result.py"}


def test_ray_tune_stays_in_tuner_and_worker() -> None:
    """import-linter knows no parts of foreign packages."""
    for path in MODULES:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            if any(name.startswith(("ray.tune", "ray.air")) for name in names):
                assert path.parts[:2] in (("orchestrator", "tuner"), ("orchestrator", "worker")), path


ROOMS_WITH = {
    "Ray only in": {"cluster", "worker", "tuner", "driver", "commands", "cli"},
    "Optuna only in": {"search", "tuner"},
    "W&B, TensorBoard and MLflow only in": {"tracking"},
    "FastAPI only in": {"serve"},
}


@pytest.mark.parametrize("name", ROOMS_WITH)
def test_a_new_room_is_fenced_by_default(name: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["name"].startswith(name)]
    rooms = {path.parts[1].removesuffix(".py") for path in MODULES if path.parts[0] == "orchestrator"} - {"__init__"}
    fenced = {module.removeprefix("orchestrator.") for module in contract["source_modules"]}
    assert fenced == rooms - ROOMS_WITH[name]


def test_no_two_public_things_bear_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse((ROOT / path).read_text()).body:
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    names = [name]
                case ast.Assign(targets=targets):
                    names = [target.id for target in targets if isinstance(target, ast.Name)]
                case ast.AnnAssign(target=ast.Name(id=name)):
                    names = [name]
                case _:
                    names = []
            for name in names:
                homes.setdefault(name, []).append(str(path))
    # Each module has its logger; each group of commands has the function that adds it to the app.
    shared = {"log", "register"}
    twice = {name: own for name, own in homes.items() if len(own) > 1 and not name.startswith("_")}
    assert {name: own for name, own in twice.items() if name not in shared} == {}


# Where a task may be named: its implementation, the sweep file, and the catalog, which also holds the default of the
# field `task`.
KNOW_TASKS = ("trainables/task/", "orchestrator/spec/", "trainables/task_catalog.py")


@pytest.mark.parametrize("path", [path for path in MODULES if not path.as_posix().startswith(KNOW_TASKS)], ids=str)
def test_no_module_asks_for_a_task_by_name(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}

    def is_task(node: ast.expr) -> bool:
        return "task" in (getattr(node, "id", None), getattr(node, "attr", None))

    def holds_text(node: ast.expr) -> bool:
        return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.walk(node))

    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)):
                assert id(node) in docstrings or text not in BUILT_IN, f"{path}:{node.lineno} names a task"
            case ast.Match(subject=subject):
                assert not is_task(subject), f"{path}:{node.lineno} asks for a task by name"
            case ast.Compare(left=left, comparators=others):
                sides = [left, *others]
                named = any(map(is_task, sides)) and any(map(holds_text, sides))
                assert not named, f"{path}:{node.lineno} compares a task with a name"


def test_package_inits_import_only_light_things() -> None:
    allowed = {*sys.stdlib_module_names, *ROOMS, "yaml"}
    for path in (path for path in MODULES if path.name == "__init__.py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong = [name for name in names if name.partition(".")[0] not in allowed]
            assert wrong == [], f"{path} imports {wrong}"


def test_no_test_folder_shadows_a_room() -> None:
    """With an `__init__.py`, `tests/analysis` would be imported in place of `analysis`."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []


WITHOUT_MIRROR: dict[str, str] = {
    "trainables/data/split/undivided.py": "tests/trainables/data/split/test_folds.py: divides into splits and folds",
    "analysis/data_page/page.py": "tests/orchestrator/commands/data/test_check.py: writes the page of odd data",
    "analysis/data_page/sections.py": "tests/orchestrator/commands/data/test_check.py: writes the page of odd data",
    "trainables/data/check/clean_manifest.py": "tests/orchestrator/commands/data/test_check.py: reads the manifest",
    "trainables/data/check/class_findings.py": "tests/trainables/data/check/test_check.py: plants odd classes",
    "trainables/data/check/equal_files.py": "tests/trainables/data/check/test_check.py: plants equal files",
    "trainables/data/check/file_findings.py": "tests/trainables/data/check/test_check.py: plants odd files",
    "trainables/data/check/finding.py": "tests/trainables/data/check/test_check.py: holds fields alone",
    "trainables/data/check/inspection.py": "tests/trainables/data/check/test_check.py: inspects every planted file",
    "trainables/data/check/listing.py": "tests/trainables/data/check/test_check.py: lists any tree",
    "trainables/data/check/measures.py": "tests/trainables/data/check/test_check.py: plants dark and blurred images",
    "trainables/data/check/near_findings.py": "tests/trainables/data/check/test_check.py: plants near-duplicates",
    "trainables/data/check/near_groups.py": "tests/trainables/data/check/test_check.py: plants near-duplicates",
    "trainables/data/check/records.py": "tests/orchestrator/commands/data/test_check.py: reads what is written",
    "orchestrator/terminal/findings_text.py": "tests/orchestrator/commands/data/test_check.py: reads the lines",
    "trainables/loop/frozen_backbone.py": "tests/trainables/loop/test_head_learner.py: trains classifiers on it",
    "analysis/predictions.py": "tests/analysis/test_class_scores.py: reads good and damaged files",
    "orchestrator/commands/data/arguments.py": "tests/orchestrator/commands/data/test_stats.py: types the arguments",
    "orchestrator/commands/plan.py": "tests/orchestrator/planning/test_plan.py: types the command",
    "orchestrator/commands/demo.py": "tests/integration/test_demo.py: runs the whole chain",
    "orchestrator/driver/sweep.py": "tests/integration/test_sweep.py: runs whole sweeps",
    "orchestrator/spec/search_problem.py": "tests/orchestrator/search/test_starting_points.py: holds fields alone",
    "orchestrator/terminal/plan_table.py": "tests/orchestrator/planning/test_plan.py: shows the plans made there",
    "orchestrator/tracking/tracker.py": "tests/contracts/test_trackers.py: every tracker passes its suite",
    "trainables/data/sources/containers.py": "tests/trainables/data/sources/test_tar_shards.py: unpacks shards with it",
    "trainables/data/sources/formats.py": "tests/contracts/test_data_formats.py: every format passes its suite",
    "trainables/data/sources/listing.py": "tests/contracts/test_data_formats.py: holds fields alone",
    "trainables/data/sources/user_errors.py": "tests/trainables/data/sources/test_tar_shards.py: reads damaged shards",
    "trainables/task/task.py": "tests/contracts/test_tasks.py: every task passes its suite",
}
"""Modules whose tests are not in the mirror: the file of tests that covers each, and the reason."""


def mirror(module: Path) -> Path:
    """Return the file of tests of a module; that of a package lies beside the folder of the package's own tests."""
    tested = module.parent if module.name == "__init__.py" else module
    return Path("tests") / tested.parent / f"test_{tested.stem}.py"


def test_each_module_has_a_mirror_test_or_a_reason() -> None:
    has_code = {path: len(ast.parse((ROOT / path).read_text()).body) > 1 for path in MODULES}
    lacking = {path.as_posix() for path in MODULES if has_code[path] and not (ROOT / mirror(path)).is_file()}
    assert lacking - WITHOUT_MIRROR.keys() == set(), "add the mirror test, or the reason to WITHOUT_MIRROR"
    assert WITHOUT_MIRROR.keys() - lacking == set(), "has a mirror test, or is no module: remove the reason"


def test_each_test_in_a_room_has_its_module() -> None:
    tests = {path.relative_to(ROOT) for room in ROOMS for path in (ROOT / "tests" / room).rglob("test_*.py")}
    assert tests - {mirror(path) for path in MODULES} == set(), "rename to the mirror of the module that is tested"


@pytest.mark.parametrize("module", WITHOUT_MIRROR)
def test_a_reason_names_the_file_of_tests_that_covers_the_module(module: str) -> None:
    file, _, reason = WITHOUT_MIRROR[module].partition(": ")
    assert reason
    assert (ROOT / file).is_file()


def test_a_page_is_written_without_the_training_stack(run_folder: Path) -> None:
    others = [name for name in HEAVY if name != "pandas"]
    code = f"import sys; sys.modules.update(dict.fromkeys({others!r})); from orchestrator.cli import main; main()"
    result = run_python(code, "report", str(run_folder))
    assert result.returncode == 0, result.stderr
    assert "leads: val/macro_f1 0.750" in (run_folder / "report.html").read_text()
