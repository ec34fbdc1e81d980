from pathlib import Path

import pytest

from analysis.run_folder import RunFolder, open_run
from search_spaces.errors import InvalidInput


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_layout_is_frozen() -> None:
    run = RunFolder(Path("runs/trash"))
    paths = {
        "run.json": run.run_json,
        "sweep.yaml": run.sweep_yaml,
        "trials": run.trials,
        "trials/0007.json": run.trial("0007"),
        "checkpoints/0007": run.checkpoints("0007"),
        "checkpoints/0007/best": run.best("0007"),
        "checkpoints/0007/last": run.last("0007"),
        "predictions/0007.parquet": run.predictions("0007"),
        "logs/0007.log": run.log("0007"),
        "logs/sweep.log": run.sweep_log,
        "tune": run.tune,
        "study.log": run.study_log,
        "wandb": run.wandb,
        "leaderboard.csv": run.leaderboard_csv,
        "report.html": run.report_html,
        "winner": run.winner,
        "export": run.export,
        "stop": run.stop_request,
        "driver.json": run.heartbeat,
    }
    assert {name: path.relative_to(run.root).as_posix() for name, path in paths.items()} == {n: n for n in paths}


@pytest.mark.parametrize("trial_id", ["", "..", "../other", "a/b", "a\\b", ".hidden"])
def test_a_trial_id_never_leaves_the_run(trial_id: str) -> None:
    run = RunFolder(Path("runs/trash"))
    for path_of in (run.trial, run.checkpoints, run.best, run.last, run.predictions, run.log):
        with pytest.raises(InvalidInput, match=r"a trial id must be a file name, got .*; give an id"):
            path_of(trial_id)


def test_open_run(tmp_path: Path) -> None:
    assert open_run(make_run(tmp_path / "trash")) == RunFolder(tmp_path / "trash")


def test_missing_folder_lists_its_neighbours(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "trash")
    with pytest.raises(InvalidInput, match=r"runs/trahs: a run must be an existing folder, got none; .*runs trash$"):
        open_run(tmp_path / "runs" / "trahs")
    with pytest.raises(InvalidInput, match=r"give the folder `<storage.root>/<name>` of a sweep$"):
        open_run(tmp_path / "nowhere" / "trash")


def test_folder_of_runs_lists_them(tmp_path: Path) -> None:
    for number in range(10):
        make_run(tmp_path / f"r{number}")
    with pytest.raises(InvalidInput) as error:
        open_run(tmp_path)
    assert "a run must have a run.json, found r0/, r1/" in str(error.value)
    assert str(error.value).endswith("has the runs r0, r1, r2, r3, r4, r5, r6, r7 and 2 more")


def test_other_folders_and_files_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InvalidInput, match=r"found an empty folder; give the folder `<storage.root>/<name>`"):
        open_run(tmp_path / "photos")
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(InvalidInput, match=r"found a\.jpg; give the folder"):
        open_run(tmp_path / "photos")
    with pytest.raises(InvalidInput, match=r"a\.jpg: a run must be a folder, got a file"):
        open_run(tmp_path / "photos" / "a.jpg")
