"""Sections of the page of a data set: its classes, sizes and mean images, and examples of each kind of finding."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from analysis.report.panel import COLORS, Panel, Photo, Table, figure, plain
from search_spaces.errors import InvalidInput
from search_spaces.plurals import counted
from search_spaces.user_files import IMAGE, read_user_file
from trainables.data.check.check import DataCheck
from trainables.data.check.finding import FINDING_KINDS, Finding
from trainables.data.decode import decode

_GROUPS = 50
_PHOTOS = 6
_LISTED = 200
# On a screen with two pixels for each of the page's 96.
_PIXELS = 192
_MEAN = 96
_SPLITS = {"train": COLORS[0], "val": COLORS[1], "test": COLORS[2], "not split": COLORS[0]}
# Open marks of different shapes: those of one place are all seen.
_MARKS = {"train": "circle-open", "val": "diamond-open", "test": "square-open", "not split": "circle-open"}
_ROOM = 0.1


@dataclass(frozen=True)
class FindingGroup:
    """FindingGroup: one finding with its photos side by side."""

    detail: str
    photos: tuple[Photo, ...]
    left: int
    """Number of files that are not shown."""


@dataclass(frozen=True)
class FindingSection:
    """FindingSection: examples of one kind of finding."""

    kind: str
    title: str
    note: str
    groups: tuple[FindingGroup, ...]


def overview(found: DataCheck) -> list[Panel]:
    """Return the panels on the data set as a whole."""
    return [_summary(found), _classes(found), _sizes(found), _means(found)]


def examples(found: DataCheck, max_pixels: int) -> Iterator[FindingSection]:
    """Yield the examples of each kind, the gravest first; photos are read anew, at most `max_pixels` each."""
    for kind, count in Counter(each.kind for each in found.findings).items():
        own = [each for each in found.findings if each.kind == kind]
        usable = {image.entry.path for image in found.usable}
        has_photos = any(path in usable for each in own for path in each.files)
        shown = own[: _GROUPS if has_photos else _LISTED]
        more = f" The first {len(shown)} of {count:,} are shown; findings.csv has all." if count > len(shown) else ""
        groups = tuple(_group(found, each, max_pixels) for each in shown)
        yield FindingSection(kind, f"{FINDING_KINDS[kind].title.capitalize()} ({count:,})", _note(kind) + more, groups)


def _note(kind: str) -> str:
    advice = FINDING_KINDS[kind].advice.replace("`", "")
    return f"{FINDING_KINDS[kind].severity.value.capitalize()}. Next: {advice}."


def _group(found: DataCheck, each: Finding, max_pixels: int) -> FindingGroup:
    photos = tuple(_photo(found, path, max_pixels) for path in each.files[:_PHOTOS])
    return FindingGroup(each.detail, photos, len(each.files) - len(photos))


def _photo(found: DataCheck, path: str, max_pixels: int) -> Photo:
    try:
        image = decode(read_user_file(found.root / path, IMAGE), path, max_pixels)
    except (OSError, InvalidInput, ValueError):  # no photo, but a class, a folder or a damaged file
        return Photo(path, path, None)
    image.thumbnail((_PIXELS, _PIXELS))
    return Photo(path, path, _jpeg(image))


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=75)
    return file.getvalue()


def _summary(found: DataCheck) -> Panel:
    counts = Counter((each.severity.value, each.kind) for each in found.findings)
    rows = [
        (severity, FINDING_KINDS[kind].title, count, FINDING_KINDS[kind].advice.replace("`", ""))
        for (severity, kind), count in counts.items()
    ]
    columns = (("severity", ""), ("finding", ""), ("number", ","), ("next step", ""))
    basis = (
        "Near-duplicates are confirmed by features of a pretrained model."
        if found.has_features
        else "Without weights (--weights DIR) only near-duplicates that are sure are listed, and no labels."
    )
    return Panel("findings", "Findings", basis, Table(columns, tuple(rows)))


def _split_of(split: str | None) -> str:
    return split or "not split"


def _classes(found: DataCheck) -> Panel:
    counts = Counter((_split_of(image.entry.split), image.entry.label) for image in found.images)
    totals = Counter(image.entry.label for image in found.images)
    labels = [label for label, _ in sorted(totals.items(), key=lambda item: (item[1], item[0]))]
    splits = [split for split in _SPLITS if any(own == split for own, _ in counts)]
    traces = [
        go.Bar(
            y=[plain(label) for label in labels],
            x=[counts[split, label] for label in labels],
            name=split,
            orientation="h",
            marker_color=_SPLITS[split],
        )
        for split in splits
    ]
    most, least = max(totals.values()), min(totals.values())
    note = f"The largest class has {counted(most, 'image')}, the smallest {least:,}."
    if most == least:
        note = f"Each class has {counted(most, 'image')}."
    height = max(260, 60 + 26 * len(labels))
    content = figure("", "", traces, barmode="stack")
    content.update_layout(height=height, yaxis={"type": "category", "automargin": True}, legend_traceorder="normal")
    return Panel("classes", "Images of each class", note, content)


def _sizes(found: DataCheck) -> Panel:
    sides: Counter[tuple[str, int, int]] = Counter()
    for image in found.usable:
        if image.facts is not None:
            sides[_split_of(image.entry.split), image.facts.width, image.facts.height] += 1
    traces = []
    for split in _SPLITS:
        own = [(width, height, count) for (name, width, height), count in sides.items() if name == split]
        if own:
            x, y, counts = zip(*own, strict=True)
            sizes = [8 + 3 * np.log2(count) for count in counts]
            marker = {"size": sizes, "symbol": _MARKS[split], "color": _SPLITS[split], "line": {"width": 2}}
            traces.append(go.Scatter(x=x, y=y, mode="markers", name=split, marker=marker, text=counts))
    note = "Width and height as stored; a larger mark stands for more images of that size."
    content = figure("width", "height", traces, legend_itemsizing="constant")
    if sides:
        _, widths, heights = zip(*sides, strict=True)
        content.update_xaxes(range=_with_room(widths)).update_yaxes(range=_with_room(heights))
    return Panel("sizes", "Sizes in pixels", note, content)


def _with_room(values: Sequence[int]) -> list[float]:
    """Return a range in which the marks of all values are whole."""
    low, high = min(values), max(values)
    room = _ROOM * max(high - low, high / 2)
    return [low - room, high + room]


def _means(found: DataCheck) -> Panel:
    counts = Counter(image.entry.label for image in found.usable)
    photos = tuple(
        Photo(label, f"{counts[label]:,} images of", _jpeg(Image.fromarray(mean).resize((_MEAN, _MEAN))))
        for label, mean in found.means.items()
    )
    note = "The mean of all images of a class. Where a class can be told by it, look at light and background first."
    return Panel("means", "Mean image of each class", note, photos)
