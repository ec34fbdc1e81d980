import io
from pathlib import Path

import pytest
from PIL import Image
from report_runs import predicted

from analysis.ledger import Ledger
from analysis.report.panel import Panel, Photo, RunData
from analysis.report.photos import doubtful_labels, mistakes
from analysis.run_folder import RunFolder


def photos(panel: Panel | None) -> list[Photo]:
    assert panel is not None and isinstance(panel.content, tuple)
    return [*panel.content]


@pytest.fixture
def with_photos(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The images of the run's data, which its configuration names by a relative path."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (600, 300), "red").save(tmp_path / "photos" / "2.jpg")
    monkeypatch.chdir(tmp_path)
    return run


def test_mistakes_are_shown_small(with_photos: RunFolder) -> None:
    panel = mistakes(RunData.of(with_photos))
    (photo,) = photos(panel)
    assert (photo.path, photo.caption) == ("2.jpg", "cat, taken for dog (50 %)")
    assert photo.jpeg is not None
    with Image.open(io.BytesIO(photo.jpeg)) as image:
        assert (image.size, image.format) == ((192, 96), "JPEG")
    assert panel is not None and panel.note.startswith("The winner gives 1 of 3 validation images another class")


def test_a_run_without_its_photos_names_them(run: RunFolder) -> None:
    assert [photo.jpeg for photo in photos(mistakes(RunData.of(run)))] == [None]


def test_a_broken_photo_is_none(with_photos: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "photos" / "2.jpg").write_bytes(b"none")
    assert [photo.jpeg for photo in photos(mistakes(RunData.of(with_photos)))] == [None]


def test_labels_at_which_the_trials_hesitate_are_no_errors(run: RunFolder) -> None:
    panel = doubtful_labels(RunData.of(run))
    (photo,) = photos(panel)
    assert (photo.path, photo.caption) == ("2.jpg", "cat; 3 of 3 trials say otherwise")
    assert panel is not None and "error" not in panel.note and "wrong" not in panel.note


def test_two_trials_are_no_opinion(run: RunFolder) -> None:
    run.predictions("0020").unlink()
    assert doubtful_labels(RunData.of(run)) is None
    predicted(run, "0020", "horse")
    assert doubtful_labels(RunData.of(run)) is None, "other classes"


def test_without_predictions_there_are_none(empty: RunFolder, run: RunFolder) -> None:
    for trial in Ledger(run).trials():
        run.predictions(trial.trial_id).unlink(missing_ok=True)
    assert mistakes(RunData.of(run)) is None
    assert doubtful_labels(RunData.of(run)) is None
