"""Image files below a folder: each real folder is entered once, and what is left out is counted by reason."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from search_spaces.errors import InvalidInput
from search_spaces.permissions import missing_permission

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".jfif", ".jpe", ".pjpeg", ".pjp", ".ppm", ".pgm", ".pbm", ".pnm"),
)

LINK, NOWHERE = "linked to a folder of the data set", "link that leads nowhere"
"""Reasons for which a link is left out."""

# Made by file servers, archivers and desktops beside the files of the user; compared in lower case.
_LITTER = {
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "@sharebin", "@sharesnap"),
    *("__macosx", ".appledouble", ".ds_store", ".trashes", ".spotlight-v100", ".fseventsd", ".ipynb_checkpoints"),
    *("$recycle.bin", "recycler", "system volume information", "lost+found", "thumbs.db", "ehthumbs.db"),
    *("ehthumbs_vista.db", "desktop.ini", "icon\r", ".picasa.ini", ".directory", ".nomedia", ".gitkeep", ".gitignore"),
}


def is_image(name: str) -> bool:
    """Return whether a file of this name is taken for an image: a known ending in any case, and no dotfile."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is made by a file server, an archiver or a desktop."""
    return name.startswith("._") or name.lower() in _LITTER


def list_folder(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder without litter, by name; raises InvalidInput where it cannot be listed.

    In the order of a file system, the link by which a folder is entered once would depend on the machine.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(_not_listed(folder, error)) from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; raises InvalidInput where that cannot be told."""
    try:
        return entry.is_dir()
    except OSError as error:
        raise InvalidInput(_not_listed(entry.path, error)) from error


def images_below(folder: Path, left_out: Counter[str], homes: Collection[Path] = ()) -> Iterator[str]:
    """Yield the path of every image below `folder`, relative to it; count in `left_out`, by reason, what is no image.

    Links to folders are followed, each real folder is entered once. A link to a folder that lies in one of `homes`, or
    holds one, is left out: what it shows is listed at its own place. `homes` are real paths; `folder` is always one.
    """
    fenced = {*homes, folder.resolve()}
    seen = {folder_identity(os.stat(folder))}  # noqa: PTH116  (as the entries of a folder have it)
    to_list = [""]
    while to_list:
        inside = to_list.pop()
        for entry in list_folder(f"{folder}/{inside}"):
            if not is_folder(entry):
                reason = reason_left_out(entry)
                if reason is None:
                    yield inside + entry.name
                else:
                    left_out[reason] += 1
            elif entry.name.startswith("."):
                left_out["hidden"] += 1
            elif entry.is_symlink() and leads_back(entry.path, fenced):
                left_out[LINK] += 1
            elif (identity := folder_identity(entry.stat())) not in seen:
                seen.add(identity)
                to_list.append(f"{inside}{entry.name}/")


def leads_back(link: str, homes: Collection[Path]) -> bool:
    """Return whether a link leads into one of the folders `homes`, given as real paths, or to a folder above one."""
    real = Path(link).resolve()
    return any(real.is_relative_to(home) or home.is_relative_to(real) for home in homes)


def reason_left_out(entry: os.DirEntry[str]) -> str | None:
    """Return why a file is not read; None for an image, which is also a link of such a name that leads nowhere."""
    if is_image(entry.name):
        return None
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_symlink() and not Path(entry.path).exists():
        return NOWHERE
    ending = Path(entry.name).suffix.lower().rstrip()
    return ending if 1 < len(ending) <= 12 and ending.isprintable() else "without a usual ending"


def folder_identity(stat: os.stat_result) -> tuple[int, int]:
    """Return device and inode, by which a folder is known under all of its names."""
    return stat.st_dev, stat.st_ino


def _not_listed(folder: Path | str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return missing_permission(Path(folder))
    return f"{folder}: every folder of images must be readable, got: {error.strerror or error}; repair or remove it"
