"""Finding: one fault or peculiarity of a data set, and the catalog of its kinds."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

About = Literal["files", "classes", "splits"]


class Severity(StrEnum):
    """Severity of a finding."""

    REFUSED = "refused"
    """A sweep does not begin with it."""

    WARNING = "warning"
    """It can make scores mean less, or a model worse."""

    NOTE = "note"
    """It is handled, or often intended."""


class FindingKind(NamedTuple):
    """Kind of a finding."""

    severity: Severity
    title: str
    """Its name in tables, in the plural."""

    advice: str
    """Next step of the user."""


_REFUSED, _WARNING, _NOTE = Severity.REFUSED, Severity.WARNING, Severity.NOTE
_FIX = "replace or remove them; `--fix` leaves them out"
_LOOK = "look at them on the page"

FINDING_KINDS = {
    "layout": FindingKind(_REFUSED, "layout that a sweep refuses", "follow the message"),
    "no_access": FindingKind(_REFUSED, "folders and files that cannot be read", "change their permissions"),
    "missing": FindingKind(_REFUSED, "listed files that do not exist", "correct the paths, or remove the rows"),
    "listed_twice": FindingKind(_REFUSED, "paths listed twice", "keep one row each"),
    "empty_split": FindingKind(_REFUSED, "splits without images", "add images, or set `data.split`"),
    "lacking_train": FindingKind(_REFUSED, "classes without images in train", "add images, or rename the class"),
    "unusable_name": FindingKind(_REFUSED, "names that cannot be used", "rename them"),
    "no_image": FindingKind(_REFUSED, "files that are no images", _FIX),
    "truncated": FindingKind(_REFUSED, "truncated images", _FIX),
    "unreadable": FindingKind(_REFUSED, "damaged images", _FIX),
    "too_large": FindingKind(_REFUSED, "images of too many pixels", "scale them down, or raise `data.max_pixels`"),
    "equal_labels": FindingKind(_REFUSED, "equal files under two labels", "keep the right label; `--fix` drops both"),
    "equal_splits": FindingKind(_REFUSED, "equal files in two splits", "keep one; `--fix` does"),
    "near_splits": FindingKind(_WARNING, "near-duplicates in two splits", "keep one side; `--fix` does"),
    "near_labels": FindingKind(_WARNING, "near-duplicates under two labels", _LOOK),
    "equal": FindingKind(_WARNING, "equal files within a split", "keep one; `--fix` does"),
    "class_absent": FindingKind(_WARNING, "classes that val or test lacks", "add images to the split"),
    "small_class": FindingKind(_WARNING, "pairs of class and split with few images", "add images"),
    "alike_classes": FindingKind(_WARNING, "classes with names alike", "give them one name if they are one class"),
    "shift_classes": FindingKind(_WARNING, "splits with other class shares", "divide anew with `thaw data split`"),
    "shift_sizes": FindingKind(_WARNING, "splits with other image sizes", "divide anew with `thaw data split`"),
    "shift_look": FindingKind(_WARNING, "splits that a classifier tells from train", "divide anew, or gather more"),
    "blank": FindingKind(_WARNING, "images of one color", _LOOK),
    "twelve_bits": FindingKind(_WARNING, "12 bits in 16: will look black", "scale their values up to 65535"),
    "animated": FindingKind(_WARNING, "animated images: the first frame is used", "save the frame that you mean"),
    "small": FindingKind(_WARNING, "small images", "use larger ones, or a smaller `data.image_size`"),
    "unlisted_image": FindingKind(_WARNING, "images left out for their ending", "give them the ending of an image"),
    "remark": FindingKind(_WARNING, "remarks of the reader", "follow the message"),
    "labels": FindingKind(_NOTE, "labels to look at first", "look at these first on the page; many will be right"),
    "dark": FindingKind(_NOTE, "dark images", _LOOK),
    "blurred": FindingKind(_NOTE, "blurred images", _LOOK),
    "near": FindingKind(_NOTE, "near-duplicates within a split", _LOOK),
    "left_out": FindingKind(_NOTE, "files left out", "nothing, if they are no photos"),
    "alike_files": FindingKind(_NOTE, "file names that differ in form only", "rename one before copying them"),
    "wrong_ending": FindingKind(_NOTE, "images with the ending of another format", "nothing: the bytes decide"),
    "palette": FindingKind(_NOTE, "palette images", "nothing: they become RGB"),
    "alpha": FindingKind(_NOTE, "images with transparent parts", "nothing: these become white"),
    "cmyk": FindingKind(_NOTE, "CMYK images", "nothing: they become RGB without their profile"),
    "turned": FindingKind(_NOTE, "images turned upright by EXIF", "nothing: it is applied"),
}
"""Kinds of findings, the gravest first."""


@dataclass(frozen=True)
class Finding:
    """Finding: one fault or peculiarity of a data set."""

    kind: str
    """Key of `FINDING_KINDS`."""

    severity: Severity

    files: tuple[str, ...]
    """Files, folders, classes or splits that it is about, as the data set names them; `about` says which."""

    detail: str
    """Sentence without the names of the files."""

    score: float | None = None
    """Rank within its kind, the largest first; None where there is none."""

    about: About = "files"
    """Kind of the names in `files`; folders count as files."""

    split: str | None = None
    """Split of the classes that it is about; None where they are meant in all."""

    @property
    def title(self) -> str:
        """Name of its kind."""
        return FINDING_KINDS[self.kind].title


def finding(
    kind: str,
    files: Iterable[str],
    detail: str,
    score: float | None = None,
    *,
    about: About = "files",
    split: str | None = None,
) -> Finding:
    """Return a finding with the severity of its kind."""
    return Finding(kind, FINDING_KINDS[kind].severity, tuple(files), detail, score, about, split)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by kind, within a kind by score and file."""
    places = {kind: place for place, kind in enumerate(FINDING_KINDS)}
    return tuple(sorted(findings, key=lambda each: (places[each.kind], -(each.score or 0.0), each.files)))
