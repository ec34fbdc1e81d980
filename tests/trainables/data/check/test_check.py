"""Planted faults are found, every one, and nothing else is accused."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import plant, png_of_size, write_clean

from search_spaces.errors import InvalidInput
from trainables.data.check import inspection
from trainables.data.check.check import DataCheck, check_data
from trainables.data.check.finding import Severity
from trainables.data_config import DataConfig, SplitShares

ASSETS = Path(os.environ.get("THAW_TEST_ASSETS", Path(__file__).parents[5] / "shared")) / "data"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clean(tmp_path_factory.mktemp("clean") / "photos")


@pytest.fixture
def photos(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "photos"))


def accused(found: DataCheck) -> dict[str, set[str]]:
    files: defaultdict[str, set[str]] = defaultdict(set)
    for each in found.findings:
        files[each.kind].update(each.files)
    return dict(files)


def test_nothing_is_found_where_nothing_is_wrong(clean):
    found = check_data(DataConfig(root=clean))
    assert found.findings == ()
    assert len(found.images) == 80
    assert not found.is_refused
    assert {label: mean.shape for label, mean in found.means.items()} == {"cat": (48, 48, 3), "dog": (48, 48, 3)}


def test_every_planted_fault_is_found_and_no_clean_file_accused(photos):
    planted = plant(photos)
    found = check_data(DataConfig(root=photos))
    files = accused(found)
    missed = {kind: sorted(paths - files.get(kind, set())) for kind, paths in planted.items()}
    assert {kind: paths for kind, paths in missed.items() if paths} == {}
    assert set().union(*files.values()) - set().union(*planted.values()) == set()
    surplus = {kind: sorted(files[kind] - planted.get(kind, set())) for kind in files}
    assert {kind: paths for kind, paths in surplus.items() if paths} == {}
    assert found.is_refused


# In a process of its own, as there is one fork server per process. With many images most go to child processes.
IN_PROCESSES = """
import os, sys
from pathlib import Path
import psutil
from search_spaces.errors import ThawError
from trainables.data.check import inspection
from trainables.data.check import inspection
from trainables.data.check.check import check_data
from trainables.data_config import DataConfig

def kill_children(done, total):
    for server in psutil.Process().children() if done > 8 else ():
        for child in server.children():
            child.kill()

inspection._HERE = 8
data = DataConfig(root=Path(sys.argv[1]))
there = check_data(data)
inspection._HERE = 10**6
here = check_data(data)
assert there.images == here.images and there.findings == here.findings and len(here.images) > 80
assert {label: mean.tolist() for label, mean in there.means.items()} == {
    label: mean.tolist() for label, mean in here.means.items()
}
inspection._HERE = 8
try:
    check_data(data, on_progress=kill_children)
except ThawError as error:
    print(error)
"""


def test_processes_find_the_same_and_their_death_is_a_clear_error(photos):
    plant(photos)
    command = [sys.executable, "-c", IN_PROCESSES, str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])
    assert (done.returncode, done.stderr) == (0, "")
    assert "got a process that died at one of the images t" in done.stdout
    assert "free memory" in done.stdout


def trashnet(folder: Path) -> Path:
    archive = ASSETS / "trashnet6.tar"
    if not archive.is_file():
        pytest.skip(f"needs {archive}")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / "trashnet6"


def test_of_real_photos_none_is_accused_of_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "_HERE", 10_000)
    found = check_data(DataConfig(root=trashnet(tmp_path)))
    kinds = {kind: len([each for each in found.findings if each.kind == kind]) for kind in accused(found)}
    assert not found.is_refused
    assert kinds.keys() == {"near_splits", "near_labels", "near"}
    assert 4 <= kinds["near_splits"] <= 6, "five by eye"


def test_real_odd_files(tmp_path):
    archive = ASSETS / "odd_files.tar"
    if not archive.is_file():
        pytest.skip(f"needs {archive}")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    labels = tmp_path / "odd" / "trashnet_same_bytes_two_labels"
    both = accused(check_data(DataConfig(root=labels)))
    assert len(both["equal_labels"]) == 6
    equal = [each for each in check_data(DataConfig(root=tmp_path / "odd")).findings if each.kind == "equal"]
    assert {len(each.files) for each in equal} == {2}
    assert accused(check_data(DataConfig(root=tmp_path / "odd")))["unlisted_image"] == {"n9151jpg"}


@pytest.mark.parametrize(
    "name", ["new\nline.jpg", "\N{GRINNING FACE}.jpg", "\x1b[31mred.jpg", "=1+1.jpg", "\u202egpj.jpg"]
)
def test_odd_names_are_carried(photos, name):
    (photos / "train" / "cat" / name).write_bytes(b"no image")
    (each,) = check_data(DataConfig(root=photos)).findings
    assert (each.kind, each.files) == ("no_image", (f"train/cat/{name}",))


def test_names_that_are_not_utf8_are_found(photos):
    source = next((photos / "train" / "cat").iterdir())
    target = os.fsencode(photos / "train" / "cat") + b"/caf\xe9.jpg"
    os.rename(os.fsencode(source), target)  # noqa: PTH104
    assert accused(check_data(DataConfig(root=photos)))["unusable_name"] == {"train/cat/caf\udce9.jpg"}


def test_loops_of_links_and_links_to_nowhere_end(photos):
    (photos / "train" / "cat" / "loop").symlink_to(photos / "train")
    (photos / "train" / "cat" / "self").symlink_to("self")
    (photos / "train" / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    found = check_data(DataConfig(root=photos))
    assert len(found.images) == 81
    assert accused(found)["unreadable"] == {"train/cat/gone.jpg"}


def test_a_huge_image_is_no_memory(photos):
    (photos / "train" / "cat" / "huge.png").write_bytes(png_of_size(30_000))
    assert accused(check_data(DataConfig(root=photos))) == {"too_large": {"train/cat/huge.png"}}


# The packages may lie in a folder that is closed to another user: they are imported first.
AS_NOBODY = """
import grp, os, pwd, sys
from pathlib import Path
from trainables.data.check import inspection
from trainables.data.check.check import check_data
from trainables.data_config import DataConfig
import scipy.sparse.csgraph, scipy.stats
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
for each in check_data(DataConfig(root=Path(sys.argv[1]))).findings:
    print(each.kind, *each.files, sep="|")
"""


def test_a_folder_and_a_file_without_permission_are_named(clean):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = Path(shutil.copytree(clean, Path(folder) / "photos"))
        (root / "val" / "dog").chmod(0)
        file = min((root / "test" / "cat").iterdir())
        file.chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])
        (root / "val" / "dog").chmod(0o755)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert {"no_access|val/dog", f"no_access|test/cat/{file.name}"} <= {*found}


def test_a_file_that_vanishes_is_named(photos):
    last = max((photos / "val" / "dog").iterdir())

    def vanish(done: int, total: int) -> None:
        last.unlink(missing_ok=True)

    found = check_data(DataConfig(root=photos), on_progress=vanish)
    (each,) = [each for each in found.findings if each.kind == "unreadable"]
    assert each.files == (f"val/dog/{last.name}",)
    assert "No such file" in each.detail


def test_everything_that_a_sweep_refuses_is_named_at_once(photos):
    (photos / "val" / "Dog").mkdir()
    for path in list((photos / "val" / "dog").iterdir()):
        path.rename(photos / "val" / "Dog" / path.name)
    shutil.rmtree(photos / "test")
    (photos / "test" / "cat").mkdir(parents=True)
    files = accused(check_data(DataConfig(root=photos)))
    assert files["lacking_train"] == {"Dog"}
    assert files["empty_split"] == {"test"}
    assert files["alike_classes"] == {"Dog", "dog"}
    assert files["class_absent"] == {"dog"}


def test_what_else_a_sweep_refuses_is_said_in_its_words(tmp_path):
    for place in ("train/cat", "val/cat"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.jpg").write_bytes(b"")
    found = check_data(DataConfig(root=tmp_path))
    (each,) = [each for each in found.findings if each.kind == "layout"]
    assert "at least two classes" in each.detail


@pytest.mark.parametrize("there", [[], ["train/cat", "val/cat"]])
def test_where_there_is_no_image_there_is_nothing_to_look_at(tmp_path, there):
    for place in there:
        (tmp_path / place).mkdir(parents=True)
    with pytest.raises(InvalidInput, match=r"is required, got no folders|must hold images"):
        check_data(DataConfig(root=tmp_path))
    with pytest.raises(InvalidInput, match="nothing there"):
        check_data(DataConfig(root=tmp_path / "none"))


def test_images_that_are_not_split(clean):
    root = clean / "train"
    whole = check_data(DataConfig(root=root))
    assert accused(whole) == {"layout": {str(root)}}
    assert "data.split" in whole.findings[0].detail
    divided = check_data(DataConfig(root=root, split=SplitShares(val=0.5)))
    assert {image.entry.split for image in divided.images} == {"train", "val"}


def test_what_the_reader_remarks_is_a_warning(photos):
    rows = [f"{path.relative_to(photos)},{path.stem[0]}" for path in sorted(photos.rglob("*.*"))]
    (photos / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    found = check_data(DataConfig(root=photos))
    (each,) = [each for each in found.findings if each.kind == "remark"]
    assert (each.severity, each.files) == (Severity.WARNING, (str(photos),))
    assert "folders are taken for the classes, and metadata.csv is not read" in each.detail


def test_folders_that_each_class_has_are_remarked_upon(tmp_path):
    for place in ("first/cat", "first/dog", "second/cat", "second/dog"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.png").write_bytes(png_of_size(64))
    found = check_data(DataConfig(root=tmp_path))
    (each,) = [each for each in found.findings if each.kind == "remark"]
    assert "the classes are first/, second/, and each holds cat/, dog/" in each.detail


def test_what_a_sweep_leaves_out_or_allows_is_a_warning(photos):
    plant(photos)
    data = DataConfig(root=photos, on_bad_image="skip", allow=("duplicates",))
    found = check_data(data)
    assert [each for each in found.findings if each.severity is Severity.REFUSED] == []


CHARACTERS = st.sampled_from(["a", "B", ".jpg", ".txt", " ", "\n", "\N{GRINNING FACE}", "e\u0301", "=", "\x1b"])
NAMES = st.lists(CHARACTERS, min_size=1, max_size=4).map("".join).filter(lambda name: name.strip(". ") != "")
PLACES = st.lists(st.sampled_from(["train", "val", "Test", "cat", "Cat", "x"]) | NAMES, max_size=4)
TREES = st.lists(st.tuples(PLACES, NAMES, st.binary(max_size=20)), max_size=8)


@given(tree=TREES)
def test_any_tree_is_looked_at_without_an_error(tmp_path_factory: pytest.TempPathFactory, tree) -> None:
    root = tmp_path_factory.mktemp("tree")
    for folders, name, data in tree:
        path = root.joinpath(*folders, name)
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    try:
        found = check_data(DataConfig(root=root))
    except InvalidInput as error:
        assert str(error).startswith(str(root)), "nothing to look at"
    else:
        assert {each.kind for each in found.findings} & {"no_image", "unreadable", "truncated"}
    shutil.rmtree(root)
