"""`thaw data split`, as people type it."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli import run
from trainables.data.arrays import open_used
from trainables.data.readers import open_dataset
from trainables.data_config import DataConfig, SplitShares


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> Path:
    """A folder with photos/: two classes of 20 images of noise, of 10 patients, in no split."""
    for label in range(2):
        for number in range(20):
            path = tmp_path / "photos" / "ab"[label] / f"p{number // 2}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40, 30), 80 + label).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    assert run(["data", "split", *arguments]) == 0
    printed = capsys.readouterr()
    return " ".join(printed.out.split()), " ".join(printed.err.split())


def splits(root: str, manifest: str | None = None) -> dict[str, set[str]]:
    found = open_dataset(Path(root), None if manifest is None else Path(manifest)).splits
    return {split: {sample.path for sample in samples} for split, samples in found.items()}


def test_a_manifest_is_the_division_of_a_sweep_with_the_same_shares(here: Path, capsys, cache_dir: Path) -> None:
    out, err = told(capsys, "photos", "--out", "m.csv", "--val", "0.2", "--test", "0.1", "--seed", "3")
    assert out.startswith("class train val test a 14 4 2 b 14 4 2 all 28 8 4")
    assert out.endswith("photos above or below the shares: none")
    assert "wrote m.csv; in a sweep file: data: {root: photos, manifest: m.csv}" in err
    shares = SplitShares(val=0.2, test=0.1, seed=3, together="near_duplicates")
    assert open_dataset(here / "photos", here / "m.csv").splits == (
        open_used(DataConfig(root=here / "photos", split=shares), cache_dir).splits
    )


@pytest.mark.parametrize("place", ["s3://bucket/photos", "photos.tar", "shards"])
def test_photos_that_are_no_files_of_this_machine_are_refused(here: Path, capsys, place: str) -> None:
    (here / "shards").mkdir()
    for path in (here / "photos.tar", here / "shards" / "all.tar"):
        with tarfile.open(path, "w") as tar:
            tar.add(here / "photos", "")
    assert run(["data", "split", place, "--out", "out"]) == 2
    assert "photos must be files of this machine" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_data_set_with_splits_is_divided_anew(here: Path, capsys) -> None:
    told(capsys, "photos", "--out", "first")
    out, err = told(capsys, "first", "--out", "second", "--seed", "1", "--copy", "--format", "json")
    document = json.loads(out)
    anew, alone = document["remarks"]
    assert anew == "first: the images of train, val, test are divided anew" and not err
    assert alone.startswith("40 photos compared by the bytes alone, since damaged, of one color")
    assert document["splits"]["val"] == {"images": 6, "missed": 0}
    assert document["classes"][0] == {"label": "a", "images": {"train": 14, "val": 3, "test": 3}}
    first, second = ({Path(path).name for path in splits(name)["val"]} for name in ("first", "second"))
    assert first != second
    assert not any(path.is_symlink() for path in (here / "second").rglob("*"))


def test_patients_stay_together_by_name_or_column(here: Path, capsys) -> None:
    out, _ = told(capsys, "photos", "--out", "m.csv", "--group-by", r"^(p\d+)_")
    assert (
        "40 photos in 10 groups, each kept in one split: equal, alike or of one --group-by; the largest has 4:" in out
    )
    paths = [path for found in splits("photos", "m.csv").values() for path in found]
    rows = [f"{path},{path[0]},{Path(path).name.split('_')[0]}" for path in paths]
    (here / "photos" / "named.csv").write_text("\n".join(["path,label,patient", *rows]))
    told(capsys, "photos/named.csv", "--out", "out.csv", "--group-by", "patient")
    for manifest in ("m.csv", "out.csv"):
        patients = [{Path(path).name.split("_")[0] for path in own} for own in splits("photos", manifest).values()]
        assert sum(map(len, patients)) == 10


def test_a_manifest_with_tabs_is_read_alike(here: Path, capsys) -> None:
    told(capsys, "photos", "--out", "m.csv")
    told(capsys, "photos", "--out", "m.tsv")
    assert (here / "m.tsv").read_text() == (here / "m.csv").read_text().replace(",", "\t")
    assert splits("photos", "m.tsv") == splits("photos", "m.csv")


def test_what_a_killed_division_left_is_named(here: Path, capsys) -> None:
    (here / ".new-0123abcd").mkdir()
    (here / ".new-old").mkdir()
    _, err = told(capsys, "photos", "--out", "new")
    assert err.count("warning: .new-0123abcd: left by a division that was cut off") == 1 and "new-old" not in err


def test_it_is_the_same_with_other_hash_seeds_and_threads(here: Path, cache_dir: Path) -> None:
    """Python orders sets, and numpy may sum, in another way."""
    texts = []
    for seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "THAW_CACHE_DIR": str(here / seed),
            "OMP_NUM_THREADS": seed,
        }
        command = [str(Path(sys.executable).with_name("thaw")), "data", "split", "photos", "--out", f"{seed}.csv"]
        subprocess.run([*command, "--group-by", r"^(p\d+)_"], env=environment, check=True, capture_output=True)
        texts.append((here / f"{seed}.csv").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--out", "photos"], "--out: must not exist yet, but photos does"),
        (["photos", "--out", "photos/x.csv"], "--out: must lie outside of the data in photos"),
        (["photos", "--out", "x", "--val", "1.5"], "--val: must be below 1, got 1.5; lower it"),
        (["photos", "--out", "x", "--val", "0.5", "--test", "0.5"], "must leave images to train, got 0.5 and 0.5"),
        (["photos", "--out", "x", "--val", "0"], "--val: must be above 0, got 0: a sweep chooses by val; raise it"),
        (["photos", "--out", "x.txt"], "--out: must be a folder, or a manifest that ends in .csv or .tsv, got x.txt"),
        (["photos", "--out", "x.csv", "--copy"], "--copy: is for a folder, got --out x.csv; leave it out"),
        (["photos", "--out", "x", "--root", "photos"], "--root: is for a manifest, got photos, which is none"),
        (["photos", "--out", "x", "--group-by", "patient"], "group_by must be a column of the manifest, or"),
        (["photos", "--out", "x", "--group-by", "(p)"], "got 1 in a, 1 in b (near-duplicates and those of one '(p)'"),
        (["nowhere", "--out", "x"], "nowhere: "),
    ],
)
def test_what_cannot_be_divided_is_refused(here: Path, capsys, arguments: list[str], message: str) -> None:
    assert run(["data", "split", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in here.iterdir()] == ["photos"]
