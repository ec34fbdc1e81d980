"""Data sets with planted faults: generated photos of two classes, and every kind of odd file three times."""

import io
import os
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

SPLITS = {"train": 20, "val": 10, "test": 10}
LABELS = ("cat", "dog")


def photo(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """A sharp picture that no other seed gives: soft patches of color under noise."""
    chance = np.random.default_rng(seed)
    patches = Image.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    soft = np.asarray(patches.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    noise = chance.integers(-40, 41, (*soft.shape[:2], 1))
    return Image.fromarray(np.clip(soft + noise, 0, 255).astype(np.uint8))


def stored(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_clean(root: Path) -> Path:
    """Write train/ val/ test/ of two classes in which nothing is to be found."""
    seed = 0
    for split, count in SPLITS.items():
        for label in LABELS:
            folder = root / split / label
            folder.mkdir(parents=True)
            for _ in range(count):
                (folder / f"{label}{seed:04}.jpg").write_bytes(stored(photo(seed), quality=90))
                seed += 1
    return root


def plant(root: Path) -> dict[str, set[str]]:
    """Add every kind of odd file three times to the folders of `write_clean`; returns their paths by kind."""
    planted: dict[str, set[str]] = {}
    for number in range(3):
        for kind, (name, data) in _odd_files(number).items():
            path = root / "train" / "cat" / name
            path.write_bytes(data)
            planted.setdefault(kind, set()).add(path.relative_to(root).as_posix())
        for kind, pair in _pairs(number).items():
            for place, data in pair.items():
                (root / place).write_bytes(data)
                planted.setdefault(kind, set()).add(place)
    return planted


def _odd_files(number: int) -> dict[str, tuple[str, bytes]]:
    image = photo(1000 + number)
    whole = stored(image)
    gray = Image.fromarray(np.random.default_rng(number).integers(0, 4000, (96, 96), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [photo(seed) for seed in (1100 + number, 1200 + number)]
    clear = photo(1300 + number).convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.arange(96, dtype=np.uint8), (96, 1))))
    dark = photo(1400 + number).point(lambda value: value // 12)
    return {
        "no_image": (f"text{number}.jpg", b"<html>not found</html>" + bytes([number])),
        "truncated": (f"cut{number}.jpg", whole[: len(whole) // 2]),
        "too_large": (f"bomb{number}.png", png_of_size(30_000 + number)),
        "wrong_ending": (f"jpeg{number}.png", stored(photo(1500 + number))),
        "small": (f"small{number}.jpg", stored(photo(1600 + number, (80, 40)), quality=95)),
        "palette": (f"palette{number}.png", stored(photo(1700 + number).quantize(64), "PNG")),
        "animated": (f"frames{number}.webp", stored(frames[0], "WEBP", save_all=True, append_images=frames[1:])),
        "twelve_bits": (f"scan{number}.png", stored(gray, "PNG")),
        "alpha": (f"clear{number}.png", stored(clear, "PNG")),
        "cmyk": (f"cmyk{number}.jpg", stored(photo(1800 + number).convert("CMYK"))),
        "turned": (f"turned{number}.jpg", stored(photo(1900 + number), exif=turned)),
        "dark": (f"dark{number}.jpg", stored(dark, quality=95)),
        "blank": (f"blank{number}.png", stored(Image.new("RGB", (96, 96), (9 * number, 90, 9)), "PNG")),
        "blurred": (f"blur{number}.jpg", stored(photo(2000 + number).filter(ImageFilter.GaussianBlur(8)), quality=95)),
        "unlisted_image": (f"photo{number}jpg", stored(photo(2100 + number))),
        "left_out": (f"notes{number}.txt", b"notes"),
    }


def png_of_size(side: int) -> bytes:
    """A PNG whose header claims `side` x `side` pixels, and whose data end at once."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def _pairs(number: int) -> dict[str, dict[str, bytes]]:
    """Return files by place: equal and similar ones, and names that differ in capitals."""
    similar = [photo(3000 + number), photo(3100 + number), photo(3200 + number)]
    equal = [stored(photo(4000 + 100 * kind + number)) for kind in range(3)]
    again = [stored(image, quality=90) for image in similar]
    first = [stored(image, quality=95) for image in similar]
    names = [stored(photo(5000 + number)), stored(photo(5100 + number))]
    return {
        "equal": {f"train/dog/e{number}.jpg": equal[0], f"train/dog/e{number}x.jpg": equal[0]},
        "equal_labels": {f"train/cat/l{number}.jpg": equal[1], f"train/dog/l{number}.jpg": equal[1]},
        "equal_splits": {f"train/dog/s{number}.jpg": equal[2], f"test/dog/s{number}.jpg": equal[2]},
        "near": {f"train/dog/n{number}.jpg": first[0], f"train/dog/n{number}x.jpg": again[0]},
        "near_labels": {f"val/cat/nl{number}.jpg": first[1], f"val/dog/nl{number}.jpg": again[1]},
        "near_splits": {f"train/dog/ns{number}.jpg": first[2], f"test/dog/ns{number}.jpg": again[2]},
        "alike_files": {f"val/dog/a{number}.jpg": names[0], f"val/dog/A{number}.jpg": names[1]},
    }


def as_root() -> bool:
    """True where permissions do not hold this user."""
    return os.geteuid() == 0
