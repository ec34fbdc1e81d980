"""Findings on single image files, from their inspection: one function per kind of check."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from trainables.data.check.finding import Finding, Severity, finding
from trainables.data.check.inspection import Inspected

MIN_SIZE = 64
"""Shorter side below which an image is small, in pixels."""

# Set on 2,521 photos of trash: the most blurred of them has 0.64, a blur of 6 pixels at 160 gives 0.82.
_BLURRED = 0.7
# And the darkest of them has 134.
_DARK = 45.0
# A scan whose largest value is below this holds 14 bits or fewer, and becomes at most a quarter as bright as white.
_BITS = 2**14

_ENDINGS = {
    **dict.fromkeys(("JPEG", "MPO"), (".jpg", ".jpeg", ".jfif", ".jpe", ".pjpeg", ".pjp", ".mpo")),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}


def file_findings(images: Sequence[Inspected], min_size: int = MIN_SIZE, *, skips_bad: bool = False) -> list[Finding]:
    """Return the findings on each image; `skips_bad` where a sweep leaves out what it cannot decode."""
    return [
        *faults(images, skips_bad=skips_bad),
        *wrong_endings(images),
        *small_images(images, min_size),
        *stored_otherwise(images),
        *looks(images),
    ]


def faults(images: Iterable[Inspected], *, skips_bad: bool = False) -> Iterator[Finding]:
    """Yield a finding on each image that cannot be used."""
    for image in images:
        if image.fault is not None:
            found = finding(image.fault.kind, [image.entry.path], image.fault.message)
            is_skipped = skips_bad and bool(image.digest)  # a file that cannot be read is never left out
            severity = Severity.WARNING if is_skipped else found.severity
            yield Finding(found.kind, severity, found.files, found.detail)


def wrong_endings(images: Iterable[Inspected]) -> Iterator[Finding]:
    """Yield a finding on each image whose name has the ending of another format."""
    for image in images:
        if image.facts is None:
            continue
        ending = PurePosixPath(image.entry.path).suffix.lower()
        if ending and ending not in _ENDINGS.get(image.facts.format, (ending,)):
            yield finding("wrong_ending", [image.entry.path], f"the bytes are {_named(image.facts.format)}")


def small_images(images: Iterable[Inspected], least: int) -> Iterator[Finding]:
    """Yield a finding on each image whose shorter side is below `least` pixels."""
    for image in images:
        if image.facts is not None and min(image.facts.width, image.facts.height) < least:
            size = f"{image.facts.width} x {image.facts.height} pixels"
            yield finding("small", [image.entry.path], f"{size}, the shorter side below {least}")


def stored_otherwise(images: Iterable[Inspected]) -> Iterator[Finding]:
    """Yield findings on images that are not stored as upright 8-bit gray or RGB."""
    for image in images:
        if (facts := image.facts) is None:
            continue
        path = [image.entry.path]
        if facts.mode in ("P", "PA"):
            yield finding("palette", path, f"{_named(facts.format)} with a palette")
        if facts.is_animated:
            yield finding("animated", path, f"{_named(facts.format)} of several frames")
        if facts.has_alpha:
            yield finding("alpha", path, f"mode {facts.mode}")
        if facts.mode == "CMYK":
            yield finding("cmyk", path, _named(facts.format))
        if facts.is_turned:
            yield finding("turned", path, f"stored as {facts.width} x {facts.height} pixels")
        if facts.largest is not None and facts.largest < _BITS:
            yield finding("twelve_bits", path, f"no value above {facts.largest} of 65535")


def looks(images: Iterable[Inspected]) -> Iterator[Finding]:
    """Yield a finding on each image of one color, and on each dark and each blurred one."""
    for image in images:
        if (measures := image.measures) is None or image.facts is None:
            continue
        path = [image.entry.path]
        if measures.is_blank:
            yield finding("blank", path, f"standard deviation of the brightness {measures.contrast:.1f} of 255")
        elif measures.light < _DARK and image.facts.largest is None:
            text = f"95 % of the pixels are at most {measures.light:.0f} of 255 bright"
            yield finding("dark", path, text, 1 - measures.light / 255)
        elif measures.blur > _BLURRED:
            yield finding("blurred", path, f"blur {measures.blur:.2f} of 1", measures.blur)


def _named(format: str) -> str:
    return "JPEG" if format == "MPO" else format
