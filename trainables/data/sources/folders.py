"""Folder layout of a data set: one folder per split, in it one folder per class."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from search_spaces.errors import InvalidInput
from trainables.data.sources.image_walk import (
    IMAGE_ENDINGS,
    LINK,
    NOWHERE,
    images_below,
    is_folder,
    is_image,
    list_folder,
    reason_left_out,
)

LAYOUT = (
    "expected are the folders train/ and val/ (test/ is optional), each with one folder of images per class, or a "
    "format of data.format"
)

_FOLDER_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
# Where there is no other val.
_RARE_NAMES = ("dev", "eval", "evaluation")
# Of data sets that have no folder train/: others may hold what is no split under these names.
_LONG_NAMES = {"train": ("training",), "val": (), "test": ("testing",)}
_SPLIT_OF = {
    **{word: split for names in (_FOLDER_NAMES, _LONG_NAMES) for split, words in names.items() for word in words},
    **dict.fromkeys(_RARE_NAMES, "val"),
}
# Folders of pictures that are no photos, which lie beside them in data sets for segmentation.
_MASKS = {"mask", "masks", "annotation", "annotations", "trimap", "trimaps", "segmentation", "segmentations"}
_PHOTOS = {"image", "images", "img", "imgs", "photo", "photos", "jpegimages"}
# Of a name like train_set, TestImages or cats-val.
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# So many folders are looked into for the remedy of a message.
_LOOKED_INTO = 3
_STRAY = "outside a class folder"


def folder_entries(root: Path, splits: Sequence[str], left_out: Counter[str]) -> dict[str, list[tuple[str, str]]]:
    """List the (path, class name) pairs of each of `splits`; count in `left_out`, by reason, the files left out.

    `valid` and `validation` stand for val; without a folder train, `training` stands for train and `testing` for test.
    Capitals do not matter, a split is one folder, and test is optional.
    Raises InvalidInput for another layout, an unreadable folder, a split without images, an empty class of train.
    """
    folders = {split: _split_folder(root, split) for split in splits}
    present = {split: folder for split, folder in folders.items() if folder is not None}
    class_folders = {split: _class_folders(folder, [*present.values()]) for split, folder in present.items()}
    homes = {
        *(folder.resolve() for folder in present.values()),
        *(folder.resolve() for found, _ in class_folders.values() for folder in found),
    }
    entries = {}
    for split, (found, own_left_out) in class_folders.items():
        _check_classes(root, present[split], found)
        entries[split] = _class_entries(root, present[split], found, homes, own_left_out, may_be_empty=split != "train")
        if not entries[split]:
            raise InvalidInput(_no_images(present[split], split, own_left_out))
        left_out.update(own_left_out)
    return entries


def has_train(root: Path) -> bool:
    """Return whether a folder has a folder of the split train, and not a class of that name."""
    train = _present(root, "train")
    return train is not None and _is_split(train)


def names_splits(root: Path) -> bool:
    """Return whether a folder has a folder that is named by a split, with whatever in it."""
    return any(_present(root, split) is not None for split in ("train", "val", "test"))


def present_entries(root: Path, splits: Sequence[str], left_out: Counter[str]) -> dict[str, list[tuple[str, str]]]:
    """List the pairs of those of `splits` that a folder has, as `folder_entries` does."""
    return folder_entries(root, [split for split in splits if _present(root, split) is not None], left_out)


def undivided_entries(root: Path, splits: Sequence[str], left_out: Counter[str]) -> dict[str, list[tuple[str, str]]]:
    """List the (path, class name) pairs of a folder with one folder per class, as those of train.

    A folder with train, and maybe others of `splits`, is listed as it is; a test that is not among `splits` may lie
    there. Raises InvalidInput where classes lie beside splits or hold splits, and as `folder_entries` does.
    """
    names = _visible_folders(root)
    taken = [name for name in names if _is_split(root / name)] or _flat_splits(names)
    folders = {split: _present(root, split) for split in _FOLDER_NAMES} if taken else {}
    train = folders.get("train")
    known = {folder.name for folder in folders.values() if folder is not None}
    if train is not None and train.name in taken and {*names} == known:
        return folder_entries(root, [split for split in splits if folders[split] is not None], left_out)
    if taken:
        raise InvalidInput(
            f"{root}: data.split divides one folder per class, or train/ where there is no val/, got "
            f"{_folders_text(names)}; {_folders_text(taken)} may be splits: rename them if they are classes, "
            "move the others away, or set data.root to one of them"
        )
    found, own_left_out = _class_folders(root, [root])
    _check_no_splits_below(root, found)
    _check_classes(root, root, found)
    entries = _class_entries(root, root, found, {folder.resolve() for folder in found}, own_left_out)
    if not entries:
        got = f"got {own_left_out[_STRAY]} in no class folder" if own_left_out[_STRAY] else "got none"
        raise InvalidInput(
            f"{root}: images must lie in one folder per class, in train/ and val/ or in no split, {got}; make one "
            "folder per class, or list the images with their classes in a manifest (data.manifest)"
        )
    left_out.update(own_left_out)
    return {"train": entries}


def inner_folders_remark(pairs: Sequence[tuple[str, str]]) -> str | None:
    """Return a sentence where each class has the same folders: batch1/ and batch2/, each with cat/ and dog/."""
    inner: dict[str, set[str]] = {}
    for path, label in pairs:
        parts = path.split("/")
        folders = parts[2:-1] if parts[1] == label else parts[1:-1]
        if not folders:
            return None
        inner.setdefault(label, set()).add(folders[0])
    first, *others = inner.values()
    if not others or len(first) < 2 or any(names != first for names in others):
        return None
    some = _folders_text(sorted(first)[:_LOOKED_INTO])
    return (
        f"the classes are {_folders_text(sorted(inner)[:_LOOKED_INTO])}, and each holds {some}: if these are the "
        "classes, list the images with their classes in a manifest (data.manifest)"
    )


def _folders_text(names: Sequence[str]) -> str:
    return ", ".join(f"{name}/" for name in sorted(names))


def splits_named(name: str) -> set[str]:
    """Return the splits that the words of a name stand for."""
    return {_SPLIT_OF[word.lower()] for word in _WORD.findall(name) if word.lower() in _SPLIT_OF}


def _is_split(folder: Path) -> bool:
    """Return whether a folder is named as a split, as `train` or `test_set`, and is none of the classes.

    A class of that name holds images, and no folders of images.
    """
    return bool(splits_named(folder.name)) and (not _holds_images(folder) or bool(_folders_of_images(folder)))


def _flat_splits(names: Sequence[str]) -> Sequence[str]:
    """Return the names where each is that of a split, and train is among them: their images are in no class folder.

    Several that all stand for train may be classes: train_blue and train_red.
    """
    named = [splits_named(name) for name in names]
    splits = set().union(*named)
    return names if all(named) and "train" in splits and (len(splits) > 1 or len(names) == 1) else []


def _check_classes(root: Path, folder: Path, classes: Sequence[Path]) -> None:
    """Raise InvalidInput where all classes lie one folder deeper than expected, in a folder of their own.

    And where masks would be taken for photos: for a class beside images/, or for a part of the first class.
    """
    for inside, names in ((folder, [each.name for each in classes]), *((c, _visible_folders(c)) for c in classes[:1])):
        masks = [name for name in names if name.lower() in _MASKS]
        if masks and any(name.lower() in _PHOTOS for name in names):
            raise InvalidInput(
                f"{inside}: must hold photos alone, got {_folders_text(names)}; move {_folders_text(masks)} out of "
                f"{root}, or list the photos with their classes in a manifest (data.manifest)"
            )
    if len(classes) != 1 or _holds_images(classes[0]) or len(below := _folders_of_images(classes[0])) < 2:
        return
    remedy = f"set data.root to {classes[0]}" if folder == root else f"move them up into {folder.name}/"
    raise InvalidInput(
        f"{folder}: must hold one folder per class, got {classes[0].name}/ alone, which holds "
        f"{_folders_text(below[:_LOOKED_INTO])}; {remedy}"
    )


def _check_no_splits_below(root: Path, classes: Sequence[Path]) -> None:
    """Raise InvalidInput where classes hold splits: cat/train/ and cat/val/."""
    for folder in classes:
        below = [name for name in _folders_of_images(folder) if name.lower() in _SPLIT_OF]
        if len(below) > 1:
            got = " and ".join(f"{folder.name}/{name}/" for name in below)
            raise InvalidInput(
                f"{root}: data.split divides images that are in no split, got {got}; move the images to "
                f"{below[0]}/{folder.name}/ and the like, or into one folder per class"
            )


def _holds_images(folder: Path) -> bool:
    return any(not is_folder(entry) and is_image(entry.name) for entry in list_folder(folder))


def _folders_of_images(folder: Path) -> list[str]:
    """Return the names of the folders in a folder that hold images themselves, sorted."""
    return [name for name in _visible_folders(folder) if _holds_images(folder / name)]


def _visible_folders(folder: Path) -> list[str]:
    return [entry.name for entry in list_folder(folder) if is_folder(entry) and not entry.name.startswith(".")]


def left_out_text(left_out: Counter[str]) -> str:
    """Return the number of files left out with the reasons, the most frequent first."""
    total = left_out.total()
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    return f"{total} file{'s' if total > 1 else ''} left out ({reasons})"


def _split_folder(root: Path, split: str) -> Path | None:
    """Return the folder of a split; None where the data set has no test."""
    folder = _present(root, split)
    if folder is not None or split == "test":
        return folder
    visible = _visible_folders(root)
    got = ", ".join(f"{name}/" for name in visible) or "no folders"
    deeper = [name for name in visible if (root / name / "train").is_dir()]
    if len(deeper) == 1:
        remedy = f"{root / deeper[0]} has a folder train/: set data.root to it"
    else:
        remedy = f"{LAYOUT}{_or_divide(root, split, visible)}"
    raise InvalidInput(f"{root}: folder {split}/ is required, got {got}; {remedy}")


def _or_divide(root: Path, split: str, visible: Sequence[str]) -> str:
    if split == "val":
        train = _present(root, "train")
        is_flat = train is None or not _visible_folders(train)
        return "" if is_flat else "; or set `data.split: {val: 0.15}`, which takes val from train"
    if any(_holds_images(root / name) for name in visible[:_LOOKED_INTO]):
        return "; or, for one folder per class, set `data.split: {val: 0.15, test: 0.15}`, which divides the images"
    return ""


def _present(root: Path, split: str) -> Path | None:
    """Return the folder of a split, None where there is none."""
    there = sorted(entry.name for entry in list_folder(root) if is_folder(entry))
    present = _named(there, _FOLDER_NAMES[split])
    if not present and not _named(there, _FOLDER_NAMES["train"]):
        present = _named(there, _LONG_NAMES[split])
    if not present and split == "val":
        present = _named(there, _RARE_NAMES)
    if len(present) > 1:
        raise InvalidInput(f"{root}: split {split} must be one folder, got {' and '.join(present)}; merge them")
    return root / present[0] if present else None


def _named(there: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in there if name.lower() in names]


def _class_folders(folder: Path, split_folders: Sequence[Path]) -> tuple[list[Path], Counter[str]]:
    """Return the folders of the classes, sorted, and what else lies beside them."""
    splits = [other.resolve() for other in split_folders]
    found, left_out = [], Counter[str]()
    for entry in list_folder(folder):
        if not is_folder(entry):
            reason = reason_left_out(entry) or _STRAY
            if reason == NOWHERE:  # a class may have been there
                raise InvalidInput(
                    f"{entry.path}: a link must lead to a class, got nothing there; restore or remove it"
                )
            left_out[reason] += 1
        elif entry.name.startswith("."):
            left_out["hidden"] += 1
        elif entry.is_symlink() and _leads_astray(Path(entry.path).resolve(), folder.resolve(), splits):
            left_out[LINK] += 1
        else:
            found.append(folder / entry.name)
    return sorted(found), left_out


def _leads_astray(real: Path, folder: Path, splits: Sequence[Path]) -> bool:
    """Return whether a link among the classes of a folder holds all classes, or is one of them by another name."""
    return any(split.is_relative_to(real) for split in splits) or real.is_relative_to(folder)


def _class_entries(
    root: Path,
    folder: Path,
    class_folders: Sequence[Path],
    homes: Collection[Path],
    left_out: Counter[str],
    *,
    may_be_empty: bool = False,
) -> list[tuple[str, str]]:
    """List the images of the classes in a folder; a class without images raises InvalidInput unless it may be."""
    entries: list[tuple[str, str]] = []
    empty = []
    for class_folder in class_folders:
        inside = class_folder.relative_to(root).as_posix()
        images = [(f"{inside}/{path}", class_folder.name) for path in images_below(class_folder, left_out, homes)]
        entries.extend(images)
        if not images:
            empty.append(class_folder.name)
    if entries and empty and not may_be_empty:
        raise InvalidInput(
            f"{folder}: every class of train must hold images, got none in {', '.join(empty)}; "
            "add images, or move the folder away where it is no class"
        )
    return entries


def _no_images(folder: Path, split: str, left_out: Counter[str]) -> str:
    rule = f"{folder.parent}: split {split} must hold images"
    if left_out[_STRAY]:
        or_leave = "; or leave the split out with `data.test: none`" if split == "test" else ""
        return (
            f"{rule}, got {left_out[_STRAY]} in {folder.name}/ itself, in no class folder; make one folder per class "
            f"in {folder.name}/, or list the images with their classes in a manifest (data.manifest){or_leave}"
        )
    got = f"got none: {left_out_text(left_out)}" if left_out else "got none"
    remedy = f"add some ({', '.join(IMAGE_ENDINGS)})" if split != "test" else "add some, or remove the split"
    return f"{rule}, {got}; {remedy}"
