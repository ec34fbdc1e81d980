import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.cli import run
from trainables.result import TrialResult
from trainables.status import Status
from trainables.storage.place import as_place


@pytest.fixture
def searched(empty_run: RunFolder, trial: Callable[..., TrialResult]) -> Path:
    Ledger(empty_run).write_trial(trial("0000", [0.5, 0.75], Status.COMPLETED, {"lr": 0.1}))
    assert isinstance(empty_run.root, Path)
    return empty_run.root


def test_a_page_is_written_into_the_run(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(searched)]) == 0
    assert capsys.readouterr().out.replace("\n", "") == str(searched / "report.html")
    assert "leads: val/macro_f1 0.750" in (searched / "report.html").read_text()


def test_or_elsewhere_for_several(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, out = str(shutil.copytree(searched, tmp_path / "copy")), tmp_path / "both.html"
    assert run(["report", str(searched), copy, "--out", str(out)]) == 0
    assert out.read_text().count("leads: val/macro_f1 0.750") == 2
    assert run(["report", str(searched), copy]) == 2
    assert "--out: must be given for several runs" in capsys.readouterr().err
    assert run(["report", str(searched), "--out", str(out / "page.html")]) == 2
    assert "--out: must be writable" in capsys.readouterr().err
    assert run(["report", copy, copy, "--out", str(out)]) == 2
    assert "must be given once" in capsys.readouterr().err


def test_figures_are_written_as_pictures(searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(searched), "--png", str(tmp_path / "new" / "folder")]) == 0
    names = sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert names == ["cost.png", "curves.png", "search.png"]
    with Image.open(tmp_path / "new" / "folder" / "curves.png") as image:
        assert image.size == (1800, 840)
    assert "curves.png, search.png, cost.png" in capsys.readouterr().out.replace("\n", " ")
    assert run(["report", str(searched), "--png", str(searched / "run.json")]) == 2
    assert "--png: must be writable" in capsys.readouterr().err
    assert run(["report", str(searched), str(searched), "--out", str(tmp_path / "x"), "--png", str(tmp_path)]) == 2
    assert "--png: takes the figures of one run, got 2 runs" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "name"), [("--png", "train"), ("--out", "train/page.html")])
def test_nothing_is_put_among_the_photos(
    option: str, name: str, searched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Leaderboard.from_run(searched).entries[0].trial.config.data.root
    assert run(["report", str(searched), option, str(root / name)]) == 2
    assert f"{option}: must lie outside of the data in" in " ".join(capsys.readouterr().err.split())
    assert not (root / "train" / "page.html").exists()
    assert not (searched / "report.html").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("photo.png", "--out: must be an HTML file, got photo.png; choose a name that ends in .html"),
        (".", "--out: must be a file, got the folder .; name a file in it, e.g. report.html"),
        ("", "got ''; name one"),
        ("gs://bucket/page.html", "other services are not supported"),
    ],
)
def test_a_place_that_is_no_file_is_refused(
    searched: Path, out: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(searched), "--out", out]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_page_can_lie_in_a_bucket(searched: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(searched), "--out", f"{bucket}/pages/page.html"]) == 0
    page = as_place(f"{bucket}/pages/page.html")
    assert b"leads: val/macro_f1 0.750" in page.read_bytes()


def test_without_its_packages_it_says_what_to_install(
    searched: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert run(["report", str(searched)]) == 2
    assert "needs jinja2, matplotlib, pandas, plotly, not installed; install thaw[report]" in capsys.readouterr().err
    assert not (searched / "report.html").exists()
