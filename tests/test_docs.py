"""The documents are run: what the README tells people to type works, and what it names exists."""

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from report_runs import PANELS, SPACE, trial
from run_records import run_record

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from orchestrator.commands.app import make_app
from orchestrator.spec.loading import load
from trainables.data.digits import write_digits

pytestmark = pytest.mark.seconds(90)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "clusters/README.md"),
    *(f"docs/{name}.md" for name in PAGES),
)
# The pages whose commands a reader types one after the other, from photos to a model.
CHAIN = "".join(PAGES[name] for name in ("quickstart", "winner", "migrate", "troubleshooting"))
# What these import takes a shell's process seconds; they run in this one, in the reader's folder and environment.
DEAR = ("data", "resume", "extend", "retrain", "evaluate", "export", "explain", "trial", "doctor")
ROOMS = ("search_spaces", "trainables", "analysis", "orchestrator")
COMMANDS: dict[str, Any] = dict(typer.main.get_command(make_app()).commands)  # type: ignore[attr-defined]


def section(title: str, text: str) -> str:
    (found,) = re.findall(rf"(?ms)^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text)
    return str(found)


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)


def command_lines(text: str) -> list[str]:
    """Lines of the shell blocks, which a reader types, without their comments."""
    typed = [line for block in blocks("sh", text) for line in block.splitlines()]
    typed += [line[2:] for block in blocks("console", text) for line in block.splitlines() if line.startswith("$ ")]
    return [bare for line in typed if (bare := re.sub(r"\s+#.*", "", line).strip())]


def mentions(text: str) -> Iterator[list[str]]:
    """The words of every `thaw ...` in a shell block, a code span or a comment of a YAML block."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    yield from (shlex.split(code) for code in [*command_lines(text), *spans] if re.match(r"thaw [a-z-]", code))


# ---- the chain with one's own photos --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader stands: a folder with `photos/`, and the files for one trial that a page shows."""
    folder = tmp_path_factory.mktemp("reader")
    write_digits(folder / "photos", keep=dict.fromkeys(range(10), 0.7))
    for name in ("trial.yaml", "old.yaml"):
        (text,) = [block for block in blocks("yaml", PAGES["migrate"]) if block.startswith(f"# {name}\n")]
        (folder / name).write_text(text)
    return folder


class Shell:
    """Types commands as the pages have them, with this environment's `thaw` first on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "THAW_CACHE_DIR": str(folder / "cache"),
            "WANDB_MODE": "disabled",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
        }
        self.environment = {**os.environ, **self.settings}

    def start(self, line: str, name: str) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.out").open("w") as out:
            return subprocess.Popen(
                f"exec {line}", shell=True, cwd=self.folder, env=self.environment, stdout=out, stderr=out, text=True
            )

    def type(self, line: str) -> str:
        if line.split()[1] in DEAR:
            return self._run_here(shlex.split(line)[1:])
        result = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def _run_here(self, arguments: list[str]) -> str:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name, value in self.settings.items():
                patch.setenv(name, value)
            code = run(arguments)
        assert code == 0, f"{arguments}\n{out.getvalue()}\n{err.getvalue()}"
        return " ".join(out.getvalue().split())


def small(line: str) -> str:
    """A command made small, with settings that the page of the sweep file itself gives for a first look."""
    if line in ("thaw sweep sweep.yaml", "thaw plan sweep.yaml"):
        (look,) = [line for line in command_lines(PAGES["sweep-file"]) if " --name look " in line]
        return f"{line} {look.partition(' --name look ')[2]}"
    if line.startswith("thaw benchmark "):
        return f"{line} --threads 1 --batch 1 --seconds 0.1"
    if line.startswith("thaw extend "):
        return "thaw extend runs/sweep --trials 1 --set space.architecture+=test_resnet"
    if line.startswith("thaw trial "):
        sets = ("weights=none", "architecture=mobilenetv3_small_050", "data.image_size=32", "epochs=2")
        return " ".join([line, *(f"--set {setting}" for setting in sets)])
    return line


@pytest.mark.timeout(1200)  # a minute or two on a machine of one's own, several where others train as well
def test_the_chain_with_ones_own_photos(folder: Path, ray_here: None) -> None:
    shell = Shell(folder)
    said: dict[str, str] = {}
    sweeps: list[subprocess.Popen[str]] = []
    try:
        for line in command_lines(CHAIN):
            if line == "make demo":  # tests/integration/test_demo.py
                continue
            verb = line.split()[1]
            if verb == "sweep":
                sweeps.append(shell.start(small(line), "sweep"))
                _wait_for(folder / "runs/sweep/logs/0000.log", sweeps[0], folder / "sweep.out")
                continue
            said[line] = shell.type(small(line))
            if verb == "stop":
                assert sweeps[0].wait(timeout=120) == 130, (folder / "sweep.out").read_text()
    finally:
        for sweep in sweeps:
            if sweep.poll() is None:
                sweep.send_signal(signal.SIGINT)
                sweep.wait(timeout=120)
    assert len(sweeps) == 1
    # What is typed on clusters is in tests/integration/test_clusters.py, and for W&B and the dashboard, which does not
    # end by itself, in the tests of their folders.
    assert {line.split()[1] for line in said} | {"sweep"} == set(COMMANDS) - {"demo", "submit", "wandb", "dashboard"}
    _check_what_was_said(folder, said)


def _wait_for(path: Path, process: subprocess.Popen[str], output: Path) -> None:
    deadline = time.monotonic() + 400
    while not path.exists():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < deadline, f"no {path} after minutes\n{output.read_text()}"
        time.sleep(0.1)


def _check_what_was_said(folder: Path, said: dict[str, str]) -> None:
    assert "small images" in said["thaw data check photos"]
    assert "recommended" in said["thaw data stats photos"]
    assert "strategy: head | progressive | full" in said["thaw space sweep.yaml"]  # without weights and network
    board = json.loads((folder / "leaderboard.json").read_text())
    assert len(board) == 5
    assert {entry["config"]["architecture"] for entry in board} == {"mobilenetv3_small_050", "test_resnet"}
    assert board[0]["rank"] == 1
    fields = PAGES["outputs"]
    assert [name for name in board[0] if f"`{name}`" not in fields] == []
    assert "macro f1" in said["thaw retrain runs/sweep"]
    assert "macro f1" in said["thaw evaluate runs/sweep --tta flip"]
    assert (folder / "imported.yaml").is_file()
    assert "same label" in said["thaw export runs/sweep"]
    json.loads((folder / "sweep.schema.json").read_text())
    # Everything that the page says a run leaves on disk, but for the files of trackers, is there.
    (listing,) = blocks("text", fields)
    named = re.findall(r"(?m)^  (\S+)  ", listing)
    assert len(named) > 8
    absent = [name for name in named if not (folder / "runs/sweep" / name).exists()]
    assert set(absent) <= {"wandb/", "tracked.jsonl", "tensorboard/", "mlruns/", "warm_start.json"}
    (exported,) = re.findall(r"(?m)^  export/ +(.*)$", listing)
    assert sorted(exported.split(", ")) == sorted(path.name for path in (folder / "runs/sweep/export").iterdir())


def test_predictions_have_the_fields_that_the_page_names(folder: Path) -> None:
    model = folder / "runs/sweep/export/model.onnx"
    if not model.exists():
        pytest.fail("the chain did not export a model")
    image = next((folder / "photos/test/0").iterdir())
    (prediction,) = json.loads(Shell(folder).type(f"thaw predict {model} {image} --format json"))
    (line,) = re.findall(r"(?ms)^- `thaw predict`: (.*?)\.$", PAGES["outputs"])
    named = re.findall(r"`(\w+)`", line)
    assert list(prediction) == named[: len(prediction)]
    assert list(prediction["top"][0]) == named[len(prediction) :]


# ---- the other pages ------------------------------------------------------------------------------------------------


def test_the_commands_that_inspect_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGES["inspect"]
    assert re.findall(r"(?m)^\| `(\w+)` \|", section("Page", text)) == PANELS
    written = RunFolder(tmp_path / "runs/sweep")
    Ledger(written).write_run(run_record(space=SPACE))
    for number in range(2):
        Ledger(written).write_trial(trial(number))
    monkeypatch.chdir(tmp_path)
    for line in command_lines(text):
        assert run(shlex.split(line)[1:]) == 0, line
    assert (tmp_path / "page.html").is_file()
    (python,) = blocks("python", text)
    exec(python, {})


# ---- what the documents name ----------------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    """The sweep file that a page shows."""
    (block,) = [block for block in blocks("yaml", text) if block.startswith("# sweep.yaml\n")]
    file = folder / "sweep.yaml"
    file.write_text(block)
    return file


def test_the_short_sweep_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    spec = load(written(tmp_path, README))
    assert set(spec.space) == {"architecture", "strategy", "trainable_stages", "unfreeze_epoch", "lr", "balance"}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200
    assert len(README.split()) <= 1300


def test_the_sweep_file_of_its_page_is_valid_and_whole(tmp_path: Path) -> None:
    file = written(tmp_path, PAGES["sweep-file"])
    spec = load(file)
    assert spec.name == "trash"
    assert spec.first_points() == [
        {"architecture": "mobilenetv2_100", "strategy": "head", "lr": 3e-3, "balance": "none", "scheduler": "cosine"}
    ]
    sections = re.findall(r"(?m)^(\w+):", file.read_text())
    assert sections == list(type(spec).model_fields)


def test_the_strategies_of_the_page_are_all_there_are() -> None:
    from trainables.config import STRATEGY_PARAMETERS

    rows = re.findall(r"(?m)^\| `(\w+)` \|(.*?)\|", section("Freeze strategies", PAGES["freezing"]))
    assert {name: tuple(re.findall(r"`(\w+):", cell)) for name, cell in rows} == dict(STRATEGY_PARAMETERS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_exists(document: str) -> None:
    for words in mentions((ROOT / document).read_text()):
        name, *rest = words[1:]
        assert name in COMMANDS, f"{document}: {' '.join(words)}"
        command = COMMANDS[name]
        command = getattr(command, "commands", {}).get(rest[0] if rest else "", command)
        options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        given = [word for word in rest if word.startswith("-")]
        assert [option for option in given if option not in options] == [], f"{document}: {' '.join(words)}"


def test_the_commands_of_the_cluster_file_and_presets_exist() -> None:
    files = [
        ROOT / "cluster.yaml",
        *(ROOT / "clusters").glob("*.yaml"),
        *(ROOT / "search_spaces/presets").glob("*.yaml"),
    ]
    for file in files:
        comments = "\n".join(re.findall(r"(?m)^\s*#(.*)$", file.read_text()))
        typed = re.findall(r"(?m)(?:^\s+|&& |`)thaw ([a-z]+)", comments)
        assert typed, file.name
        assert [name for name in typed if name not in COMMANDS] == [], file.name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_explains_every_parameter(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert COMMANDS[name].help.split(".")[0].split("\n")[0] in shown
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name}: {parameter.name} has no help text"
        label = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.rstrip("_")
        assert label in shown
        assert re.sub(r"\W+", "", parameter.help)[:40] in re.sub(r"\W+", "", shown), f"{name}: {parameter.name}"


def anchors(text: str) -> set[str]:
    """Anchors of the titles of a page, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)}


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_every_link_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = (ROOT / document).parent / name if name else ROOT / document
        assert place.exists(), f"{document}: {target}"
        assert not anchor or anchor in anchors(place.read_text()), f"{document}: {target}"


def test_the_messages_of_the_troubleshooting_page_exist() -> None:
    rows = re.findall(r"(?m)^\| (.*?) \|", PAGES["troubleshooting"])
    messages = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    assert len(messages) >= 6
    code = "".join(path.read_text() for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    assert [message for message in messages if message not in code] == []


def test_every_page_is_listed_in_the_readme() -> None:
    assert [name for name in PAGES if f"(docs/{name}.md)" not in README] == []


def test_every_word_of_the_glossary_is_used() -> None:
    words = re.findall(r"(?m)^\| ([a-z ]+) \|", PAGES["glossary"])[1:]
    assert len(words) == 9
    others = README + "".join(text for name, text in PAGES.items() if name != "glossary")
    assert [word for word in words if word not in others] == []


def test_the_table_of_folders_names_every_room_of_the_second_level() -> None:
    table = section("Four rooms, imports run one way", (ROOT / "CONTRIBUTING.md").read_text())
    named = set(re.findall(r"(?m)^\| `(\w+(?:/\w+)?)/` \|", table))
    rooms = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).glob("*/__init__.py")}
    folders = {path.removesuffix("/__init__.py") for path in rooms} - {"search_spaces/presets"}
    assert named == folders | {"search_spaces", "analysis"}
