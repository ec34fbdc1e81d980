"""Check of a data set: everything that is wrong with it at once, and what its images look like."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.errors import InvalidInput
from trainables.data.check.class_findings import class_findings
from trainables.data.check.equal_files import equal_findings
from trainables.data.check.file_findings import MIN_SIZE, file_findings
from trainables.data.check.finding import Finding, Severity, finding, in_order
from trainables.data.check.inspection import NO_SKETCHES, Inspected, Sketches, inspect_all
from trainables.data.check.label_findings import label_findings
from trainables.data.check.listing import FullListing, ListedImage, list_folders, list_manifest
from trainables.data.check.near_findings import near_findings
from trainables.data.check.near_groups import Features
from trainables.data.check.shift_findings import shift_findings
from trainables.data.decode import ImageFacts
from trainables.data.readers import open_configured
from trainables.data.sources.formats import Wanted, holds_images, read_images
from trainables.data_config import DataConfig
from trainables.storage.folders import cache_folder

Embed = Callable[[Path, Sequence[Inspected]], Features]
"""Function from the root of a data set and usable images of it to their features (n, d)."""


@dataclass(frozen=True)
class DataCheck:
    """DataCheck: a data set with all that was found in it."""

    root: Path
    """Folder that the paths are relative to."""

    images: tuple[Inspected, ...]
    """Images, sorted by path, with the splits that a sweep would give them."""

    findings: tuple[Finding, ...]
    """Findings, the gravest kinds first."""

    means: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    """Mean image of each class, (SKETCH, SKETCH, 3), of a sample of its images."""

    has_features: bool = False
    """True where near-duplicates were confirmed by features, and labels and splits compared by them."""

    @property
    def is_refused(self) -> bool:
        """True where a sweep would refuse the data set."""
        return any(found.severity is Severity.REFUSED for found in self.findings)

    @property
    def usable(self) -> tuple[Inspected, ...]:
        """Images that can be decoded."""
        return tuple(image for image in self.images if image.fault is None)


def check_data(
    data: DataConfig,
    *,
    cache: Path | None = None,
    min_size: int = MIN_SIZE,
    embed: Embed | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DataCheck:
    """Look at every file of a data set, and return all findings; nothing of it is changed.

    What lies in a bucket or in containers is first copied below `cache`, or the usual cache folder, and is looked at
    as the reader lists it.
    `embed` gives frozen features. `on_progress(done, total)` is called for the images decoded. Raises InvalidInput
    where there is no data set to look at: no folder, no table, no image.
    """
    cache = cache or cache_folder(None)
    listing = _listing(data, cache)
    if not listing.entries:
        open_configured(data, cache)  # which says what is wrong with the folders
        raise InvalidInput(
            f"{data.manifest or data.root}: a data set must hold images, got none; name the folder with the images"
            f"{_first_reason(listing)}"
        )
    images, means = _inspected(listing, data.max_pixels, on_progress)
    found = [*listing.findings, *class_findings(listing)]
    divided, verdict = _divided(data, cache, images)
    has_reason = any(each.severity is Severity.REFUSED for each in found)
    found += [each for each in verdict if each.severity is not Severity.REFUSED or not has_reason]
    features = None if embed is None else embed(listing.root, [image for image in divided if image.fault is None])
    found += file_findings(divided, min_size, skips_bad=data.on_bad_image == "skip")
    found += equal_findings(divided, are_allowed="duplicates" in data.allow)
    found += near_findings(divided, features)
    usable = [image for image in divided if image.fault is None]
    found += shift_findings(usable, features)
    if features is not None:
        found += label_findings(usable, features)
    return DataCheck(listing.root, tuple(divided), in_order(found), means, features is not None)


def _listing(data: DataConfig, cache: Path) -> FullListing:
    root, manifest, is_divided = data.root, data.manifest, data.split is not None
    if isinstance(root, Path) and isinstance(manifest, Path):
        return list_manifest(root, manifest, data.splits, divided=is_divided)
    if isinstance(root, Path) and manifest is None and holds_images(root, data.format):
        return list_folders(root, data.splits)
    read = read_images(root, Wanted(data.splits, is_divided, manifest, data.format), cache)
    images = (
        ListedImage(path, None if is_divided and split == "train" else split, label)
        for split, pairs in read.entries.items()
        for path, label in pairs
    )
    remarks = tuple(finding("remark", [str(root)], remark) for remark in read.remarks)
    return FullListing(read.root, tuple(sorted(images)), remarks)


def _inspected(
    listing: FullListing, max_pixels: int, on_progress: Callable[[int, int], None]
) -> tuple[list[Inspected], dict[str, npt.NDArray[np.uint8]]]:
    """Return the images, and the mean image of each class."""
    images: list[Inspected] = []
    sketches: dict[str, Sketches] = {}
    alike: dict[ImageFacts, ImageFacts] = {}  # few facts differ, and one copy of each is kept
    for found, sums in inspect_all(listing.root, listing.entries, max_pixels):
        for image in found:
            entry = listing.entries[len(images)]
            facts = None if image.facts is None else alike.setdefault(image.facts, image.facts)
            images.append(image._replace(entry=entry, facts=facts))
            on_progress(len(images), len(listing.entries))
        for label, own in sums.items():
            before = sketches.get(label, NO_SKETCHES)
            sketches[label] = Sketches(before.total + own.total, before.images + own.images)
    return images, {label: (own.total // own.images).astype(np.uint8) for label, own in sorted(sketches.items())}


def _first_reason(listing: FullListing) -> str:
    """Return the first thing found in place of images, for a message."""
    return f" (found: {listing.findings[0].detail})" if listing.findings else ""


def _divided(data: DataConfig, cache: Path, images: Sequence[Inspected]) -> tuple[list[Inspected], list[Finding]]:
    """Return the images with the splits that a sweep gives them, and what it says of the data set as a whole."""
    where = [str(data.manifest or data.root)]
    try:
        dataset = open_configured(data, cache)
        if dataset.undivided is None:
            return list(images), []
        digests = {image.entry.path: image.digest.hex() for image in images if image.fault is None}
        seen = [(image.entry.path, image.measures) for image in images]
        hashes = {path: each.hash for path, each in seen if each is not None and each.hash is not None}
        skipped = {"train": {image.entry.path: image.fault.message for image in images if image.fault is not None}}
        dataset = dataset.examined(digests, skipped, hashes)
    except InvalidInput as error:
        return list(images), [finding("layout", where, str(error))]
    splits = {sample.path: split for split, own in dataset.distinct_splits.items() for sample in own}
    return [_in_split(image, splits.get(image.entry.path, image.entry.split)) for image in images], []


def _in_split(image: Inspected, split: str | None) -> Inspected:
    return image if split == image.entry.split else image._replace(entry=image.entry._replace(split=split))
