"""`thaw data check`, as people type it."""

import csv
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from planted import photo, plant, stored, write_clean
from safetensors.torch import save

from analysis.data_page.sections import overview
from orchestrator.cli import run
from search_spaces.documents import dump_yaml
from trainables.data.check.check import check_data
from trainables.data_config import DataConfig
from trainables.model.build import bare_model
from trainables.storage.bucket import BucketPath


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clean(tmp_path_factory.mktemp("clean") / "photos")


@pytest.fixture
def photos(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(clean, tmp_path / "photos"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_clean_data_are_said_to_be_clean(photos, capsys):
    assert run(["data", "check", "photos"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "80 images of 2 classes, 0 findings" in told.err
    assert rows(Path("findings.csv")) == []


def test_each_kind_is_a_line_with_number_example_and_next_step(photos, capsys):
    planted = plant(photos)
    assert run(["data", "check", "photos", "--out", "found"]) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == len(planted)
    (line,) = [line for line in told.out.splitlines() if "truncated" in line]
    assert line.startswith("refused")
    assert " 3  truncated images: train/cat/cut0.jpg; replace or remove them" in line
    assert "a sweep would refuse this data" in told.err
    written = rows(Path("found/findings.csv"))
    for kind, paths in planted.items():
        assert {row["path"] for row in written if row["kind"] == kind} == paths
    assert {row["label"] for row in written if row["kind"] == "truncated"} == {"cat"}


def test_json_holds_the_same_findings(photos, capsys):
    planted = plant(photos)
    assert run(["data", "check", "photos", "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["root", "images", "classes", "splits", "is_refused", "has_features", "kinds", "findings"]
    assert document["kinds"].keys() == planted.keys()
    assert list(document["findings"][0]) == ["kind", "severity", "files", "about", "split", "detail", "score"]


def test_each_name_of_a_table_of_findings_is_in_its_own_column(photos, capsys):
    for path in sorted((photos / "val" / "cat").iterdir())[3:]:
        path.unlink()
    assert run(["data", "check", "photos"]) == 0
    (row,) = [row for row in rows(Path("findings.csv")) if row["kind"] == "small_class"]
    assert (row["path"], row["split"], row["label"], row["detail"]) == ("", "val", "cat", "3 images in val")
    assert "pairs of class and split with few images: cat in val; add images" in capsys.readouterr().out


def test_odd_names_reach_neither_the_terminal_nor_a_spreadsheet(photos, capsys):
    for name in ("\x1b[31mred\n.jpg", "[bold].jpg"):
        (photos / "train" / "cat" / name).write_bytes(b"")
    shutil.move(photos / "train" / "dog", photos / "train" / "=1+1")
    run(["data", "check", "photos"])
    told = capsys.readouterr()
    assert "\x1b[31m" not in told.out + told.err
    assert r"\x1b[31mred\n.jpg" in told.out
    assert all(not value.startswith("=") for row in rows(Path("findings.csv")) for value in row.values())


def test_a_manifest_and_a_sweep_file(photos, capsys):
    shutil.move(photos / "train" / "cat" / "cat0000.jpg", photos / "extra.jpg")
    lines = [f"{path.relative_to(photos)},{path.parent.name},{path.parts[-3]}" for path in photos.glob("*/*/*.jpg")]
    bad = ["gone.jpg,cat,train", "extra.jpg,,train", "../out.jpg,cat,train", "extra.jpg,cat,dev2"]
    (photos / "m.csv").write_text("\n".join(["path,label,split", *lines, *bad]))
    assert run(["data", "check", "photos/m.csv", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["kinds"] == {"layout": 3, "missing": 1, "small_class": 1}
    sweep = {"data": {"root": "photos", "image_size": 32}, "trial": {}, "space": {}}
    Path("sweep.yaml").write_text(dump_yaml(sweep))
    assert run(["data", "check", "sweep.yaml"]) == 0
    (photos / "val" / "cat" / "bad.jpg").write_bytes(stored(photo(1))[:500])
    assert run(["data", "check", "sweep.yaml"]) == 1
    assert run(["data", "check", "sweep.yaml", "--set", "data.on_bad_image=skip"]) == 0


def test_the_clean_manifest_is_read_unchanged_and_nothing_is_found_in_it(photos, capsys):
    planted = plant(photos)
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    assert run(["data", "check", "photos", "--fix", "--out", "found"]) == 1
    assert "cannot be used yet" not in capsys.readouterr().err
    excluded = {row["path"]: row["reason"] for row in rows(Path("found/excluded.csv"))}
    kept = {row["path"] for row in rows(Path("found/clean.csv"))}
    assert not kept & excluded.keys()
    assert kept | excluded.keys() == {
        path.relative_to(photos).as_posix() for path in before if path.suffix in (".jpg", ".png", ".webp")
    }
    for kind in ("no_image", "truncated", "too_large", "equal_labels"):
        assert planted[kind] <= excluded.keys(), kind
    for kind in ("equal", "equal_splits", "near_splits"):
        assert len(planted[kind] - kept) == 3, kind
    assert {path for path in excluded if path.startswith(("test/", "val/"))} == set(), "what is measured stays"
    assert all(excluded.values())
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
    sweep = {"data": {"root": "photos", "manifest": "found/clean.csv"}, "trial": {}, "space": {}}
    Path("sweep.yaml").write_text(dump_yaml(sweep))
    assert run(["data", "check", "sweep.yaml", "--format", "json"]) == 0
    kinds = json.loads(capsys.readouterr().out)["kinds"]
    assert not kinds.keys() & {"equal", "equal_splits", "near_splits", "equal_labels", "truncated"}


def test_the_page_holds_names_as_text(photos):
    label = "<script>alert(1)</script>"
    shutil.move(photos / "train" / "dog", photos / "train" / label.replace("/", "_"))
    (photos / "train" / "cat" / "<b>$x$.jpg").write_bytes(b"")
    assert run(["data", "check", "photos"]) == 1
    page = Path("data.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;b&gt;$x$.jpg" in page
    assert "A sweep would refuse this data" in page


def test_the_charts_show_every_split_in_one_order(photos):
    _, classes, sizes, _ = overview(check_data(DataConfig(root=photos)))
    for panel in (classes, sizes):
        assert [trace.name for trace in panel.content.data] == ["train", "val", "test"]
    assert classes.content.layout.legend.traceorder == "normal"
    assert len({trace.marker.symbol for trace in sizes.content.data}) == 3
    for axis, values in ((sizes.content.layout.xaxis, "x"), (sizes.content.layout.yaxis, "y")):
        low, high = axis.range
        assert all(low < value < high for trace in sizes.content.data for value in trace[values])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: data.root must be a folder, got nothing there"),
        (["empty"], "empty: images must lie in one folder per class, in train/ and val/ or in no split, got none"),
        (["flat"], "flat: images must lie in one folder per class, in train/ and val/ or in no split, got 1 in no"),
        (["photos", "--out", "photos/found"], "--out: must lie outside of the data"),
        (["photos", "--weights", "empty"], "must hold <architecture>.safetensors of a timm model, got none"),
        (["photos", "--set", "trial.epochs=1"], "--set: photos have settings of `data` alone, got trial"),
        (["photos", "--root", "photos"], "--root: is for a manifest, got photos, which is none"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(photos, capsys, arguments, words):
    Path("empty").mkdir()
    Path("flat").mkdir()
    shutil.copy(next(photos.rglob("*.jpg")), "flat")
    before = sorted(Path().rglob("*"))
    assert run(["data", "check", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before


def test_photos_that_are_not_split_are_checked_as_a_sweep_divides_them(photos, capsys):
    assert run(["data", "check", "photos/train", "--fix", "--out", "found"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "in no split: checked as a sweep divides the images with data.split: {val: 0.15, test: 0.15, seed: 42}" in told
    )
    assert {row["split"] for row in rows(Path("found/clean.csv"))} == {"train", "val", "test"}
    assert run(["data", "check", "found/clean.csv", "--root", "photos/train"]) == 0
    listed = [f"{path.relative_to(photos)},{path.parent.name}" for path in photos.glob("train/*/*.jpg")]
    (photos / "l.csv").write_text("\n".join(["file,class", *listed]))
    assert run(["data", "check", "photos/l.csv", "--out", "photos"]) == 0, "beside a manifest anything may be written"


def test_what_a_sweep_would_refuse_of_undivided_photos_is_refused(photos, capsys):
    shutil.rmtree(photos / "train" / "dog")
    assert run(["data", "check", "photos/train"]) == 1
    assert "at least two classes" in capsys.readouterr().out
    shutil.move(photos / "train" / "cat", photos / "val" / "fox")
    Path("around").mkdir()
    shutil.move(photos / "val", "around/all")
    assert run(["data", "check", "around"]) == 1
    assert f"set data.root to {Path('around/all').absolute()}" in " ".join(capsys.readouterr().out.split())


def test_one_archive_and_a_bucket(photos, bucket, cache_dir, capsys):
    with tarfile.open("photos.tar", "w") as tar:
        tar.add(photos / "train", "")
    assert run(["data", "check", "photos.tar", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == len([*photos.glob("train/*/*.jpg")])
    for path in photos.glob("train/*/*.jpg"):
        place = BucketPath.parse(bucket) / path.relative_to(photos / "train").as_posix()
        place.write_bytes(path.read_bytes())
    assert run(["data", "check", bucket, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == len([*photos.glob("train/*/*.jpg")])
    weights = BucketPath.parse(bucket) / "weights" / "test_efficientnet.safetensors"
    weights.write_bytes(save(bare_model("test_efficientnet", 2, seed=3).state_dict()))
    assert run(["data", "check", "photos", "--weights", f"{bucket}/weights"]) == 0
    assert "without --weights" not in capsys.readouterr().err
    assert run(["init", "--data", "photos", "--weights", f"{bucket}/weights"]) == 0
    assert f"weights_dir: {bucket}/weights" in Path("sweep.yaml").read_text()


def test_inside_the_data_nothing_is_written(photos, capsys, monkeypatch):
    monkeypatch.chdir(photos)
    assert run(["data", "check", "."]) == 2
    assert "--out: must lie outside of the data" in capsys.readouterr().err
    assert not Path("findings.csv").exists()
