"""Shipped files: the wheel, the lock file, the text of the repository, the commands of continuous integration."""

import ast
import re
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"search_spaces", "trainables", "analysis", "orchestrator"}
# Where the distribution has another name than its module, or brings it with its own.
BRINGS = {"PIL": "pillow", "yaml": "pyyaml", "pydantic_core": "pydantic", "sklearn": "scikit-learn", "aiohttp": "ray"}
TRAINING = {
    *(
        "accelerate",
        "boto3",
        "botocore",
        "fastapi",
        "huggingface_hub",
        "jinja2",
        "matplotlib",
        "markupsafe",
        "onnx",
        "optuna",
        "pandas",
        "plotly",
        "ray",
        "safetensors",
        "scikit-learn",
        "scipy",
    ),
    *(
        "mlflow",
        "tensorboardX",
        "threadpoolctl",
        "timm",
        "torch",
        "torchvision",
        "uvicorn",
        "wandb",
        "wandb_workspaces",
    ),
}


def repository_files() -> list[Path]:
    """Files that are tracked, or would be with the next `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in sorted(set(names)) if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("thaw-*.whl")
    return zipfile.ZipFile(path)


def read(wheel: zipfile.ZipFile, ending: str) -> str:
    (name,) = [name for name in wheel.namelist() if name.endswith(ending)]
    return wheel.read(name).decode()


def test_the_wheel_holds_exactly_the_four_rooms_and_the_face(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    (metadata,) = {name for name in top if name.endswith(".dist-info")}
    assert top == ROOMS | {metadata, "thaw.py"}


def test_the_wheel_holds_every_module_and_preset(wheel: zipfile.ZipFile) -> None:
    ours = (path.relative_to(ROOT) for path in repository_files())
    wanted = {path.as_posix() for path in ours if path.parts[0] in ROOMS | {"thaw.py"}}
    assert "search_spaces/presets/quickstart.yaml" in wanted
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == wanted


def test_the_wheel_ships_no_tests(wheel: zipfile.ZipFile) -> None:
    assert [name for name in wheel.namelist() if "test" in name] == []


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    assert read(wheel, "entry_points.txt").split() == ["[console_scripts]", "thaw", "=", "orchestrator.cli:main"]


def test_the_wheel_names_its_extras_and_licence(wheel: zipfile.ZipFile) -> None:
    metadata = message_from_string(read(wheel, ".dist-info/METADATA"))
    assert metadata["Name"] == "thaw"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {"train", "serve", "report", "tensorboard", "wandb", "mlflow"}
    assert "Apache License" in read(wheel, "licenses/LICENSE")


def test_the_template_of_the_page_is_shipped(wheel: zipfile.ZipFile) -> None:
    templates = {f"analysis/report/templates/{name}" for name in ("page.html", "run.html", "page.css", "page.js")}
    live = ("base.html", "run.html", "list.html", "log.html", "comparison.html", "message.html", "live.css", "live.js")
    templates |= {f"analysis/report/templates/live/{name}" for name in live}
    assert templates <= set(wheel.namelist())


def test_the_base_brings_what_its_commands_import_and_no_more(wheel: zipfile.ZipFile) -> None:
    requirements = message_from_string(read(wheel, ".dist-info/METADATA")).get_all("Requires-Dist", [])
    base = {re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line}
    imported = {BRINGS.get(name, name) for path in repository_files() for name in _imported(path)}
    assert base == imported - TRAINING


def _imported(path: Path) -> set[str]:
    """Packages of others that a shipped module imports."""
    inside = path.relative_to(ROOT)
    if inside.suffix != ".py" or inside.parts[0] not in ROOMS | {"thaw.py"}:
        return set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - ROOMS - sys.stdlib_module_names


@pytest.mark.parametrize("lock", ["requirements.lock", "tests/mlflow-server/requirements.lock"])
def test_the_lock_names_no_address_and_hashes_every_line(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--extra-index" not in text
    pinned = re.split(r"\n(?=\S)", "\n" + re.sub(r"(?m)^\s*#.*$", "", text))
    requirements = [entry for entry in pinned if entry.strip()]
    assert len(requirements) > 50
    unhashed = [entry.split()[0] for entry in requirements if "==" not in entry or "--hash=sha256:" not in entry]
    assert unhashed == []


def test_the_server_of_mlflow_stays_out_of_the_lock() -> None:
    """Its pin of pyarrow does not fit; the client is enough."""
    names = re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements.lock").read_text())
    assert [name for name in names if name.startswith("mlflow")] == ["mlflow-skinny"]


def test_no_file_is_large() -> None:
    assert [path for path in repository_files() if path.stat().st_size > 1_000_000] == []


def test_no_file_names_the_machine_it_was_written_on() -> None:
    # Put together here, so that this file does not name it.
    marks = [f"/{'work'}/", f"{'/root'}/", str(ROOT) + "/"]
    found = {}
    for path in repository_files():
        text = path.read_text(errors="ignore")
        found[path.name] = [mark for mark in marks if mark in text]
    assert {name: marks for name, marks in found.items() if marks} == {}


def test_continuous_integration_runs_the_developers_own_commands() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail"
    assert lines[1].startswith("cd ")
    assert lines[2:] == ["make check test soak"]


def test_make_has_the_targets_that_the_documents_name() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    named = set()
    for name in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        for words in re.findall(r"\bmake ((?:[a-z]+ ?)+)", "\n".join(_code(ROOT / name))):
            named |= set(words.split())
    assert named <= targets
    assert {"demo", "check", "test", "soak"} <= named


def _code(path: Path) -> list[str]:
    """Lines of code: all of a script, the fenced blocks and the code spans of a document."""
    text = path.read_text()
    if path.suffix != ".md":
        return text.splitlines()
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", text)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    return [re.sub(r"\s#.*", "", line) for block in blocks for line in block.splitlines()] + spans
