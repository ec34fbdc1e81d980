from collections import Counter

import pytest

from search_spaces.errors import InvalidInput
from trainables.data.sources.image_walk import images_below, is_image, is_litter, leads_back


@pytest.fixture
def tree(tmp_path):
    """Three images in two folders."""
    for path in ("a.jpg", "deep/b.png", "deep/deeper/c.webp"):
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).touch()
    return tmp_path / "tree"


def walk(folder, homes=()):
    left_out = Counter()
    return sorted(images_below(folder, left_out, homes)), dict(left_out)


IMAGES = ["a.jpg", "deep/b.png", "deep/deeper/c.webp"]


def test_images_of_all_depths_are_found(tree):
    assert walk(tree) == (IMAGES, {})


@pytest.mark.parametrize("target", [".", "..", "deep", "/"])
def test_a_link_that_leads_back_is_left_out_and_counted(tree, target):
    (tree / "again").symlink_to(target, target_is_directory=True)
    assert walk(tree) == (IMAGES, {"linked to a folder of the data set": 1})


def test_two_loops_end(tree):
    for name in ("one", "two"):
        (tree / "deep" / name).symlink_to(tree)
        (tree / name).symlink_to(tree / "deep")
    assert walk(tree)[0] == IMAGES


def test_a_folder_elsewhere_is_entered_once_by_two_links_and_its_own_loops_end(tree, tmp_path):
    (tmp_path / "pool" / "sub").mkdir(parents=True)
    (tmp_path / "pool" / "sub" / "d.jpg").touch()
    (tmp_path / "pool" / "loop").symlink_to(tmp_path / "pool")
    (tree / "first").symlink_to(tmp_path / "pool")
    (tree / "second").symlink_to(tmp_path / "pool")
    found, left_out = walk(tree)
    assert len(found) == 4
    assert found[-1].endswith("/sub/d.jpg")
    assert left_out == {}


def test_a_link_into_another_home_is_left_out(tree, tmp_path):
    (tmp_path / "dog" / "sub").mkdir(parents=True)
    (tmp_path / "dog" / "sub" / "d.jpg").touch()
    (tree / "dogs").symlink_to(tmp_path / "dog" / "sub")
    assert len(walk(tree)[0]) == 4
    assert walk(tree, [tmp_path / "dog"])[0] == IMAGES


def test_a_folder_that_cannot_be_entered_is_named(tree):
    (tree / "itself").symlink_to("itself")
    with pytest.raises(
        InvalidInput, match=r"tree//?itself: every folder of images must be readable, got: Too many lev"
    ):
        walk(tree)


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "__MACOSX", "$RECYCLE.BIN", ".AppleDouble", "lost+found", ".ipynb_checkpoints"],
)
def test_litter_is_neither_entered_nor_counted(tree, name):
    (tree / name).mkdir()
    (tree / name / "thumbnail.jpg").touch()
    for file in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.jpg", "Icon\r"):
        (tree / file).touch()
    assert is_litter(name)
    assert walk(tree) == (IMAGES, {})


def test_what_is_left_out_is_counted_by_reason(tree):
    for name in ("x.heic", "y.HEIC", "z.txt", "plain", ".hidden.jpg", "odd.\x1b[31m", "long.notanendingatall"):
        (tree / name).touch()
    (tree / ".thumbnails").mkdir()
    expected = {".heic": 2, ".txt": 1, "without a usual ending": 3, "hidden": 2}
    assert walk(tree) == (IMAGES, expected)


@pytest.mark.parametrize("name", ["a.jpg", "A.JPG", "b.jfif", "c.jpe", "d.pjpeg", "e.ppm", "f.PGM", "g.pbm", "h.pnm"])
def test_images_by_their_endings(name):
    assert is_image(name)


def test_a_link_that_leads_nowhere_is_counted_and_that_of_an_image_is_listed(tree):
    (tree / "gone").symlink_to("/nowhere")
    (tree / "gone.jpg").symlink_to("/nowhere.jpg")
    assert walk(tree) == (["a.jpg", *IMAGES[1:], "gone.jpg"], {"link that leads nowhere": 1})


def test_a_link_leads_back_into_a_home_or_above_it(tmp_path):
    (tmp_path / "home" / "sub").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("home", "other"):
        (tmp_path / f"to_{name}").symlink_to(tmp_path / name)
    assert leads_back(str(tmp_path / "to_home"), [tmp_path / "home" / "sub"])
    assert leads_back(str(tmp_path / "to_home"), [tmp_path / "home"])
    assert not leads_back(str(tmp_path / "to_other"), [tmp_path / "home"])
