"""Images per second of `thaw data check` against a bare parallel decode of the same files on the same cores.

20,000 JPEGs of 512 x 384 pixels, parts of TrashNet's photos, no two alike. The bare decode opens each with Pillow and
converts it to RGB, in as many processes as there are cores; the check reads, hashes, decodes and measures it, finds
equal files and near-duplicates, and writes nothing. Both take turns in one run, each in a process of its own. Targets:
0.8 of the bare decode, and memory that does not grow with the number of images beyond their records.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from setting import child, repeats, spread, trashnet

from trainables.data.check.check import check_data
from trainables.data_config import DataConfig

COUNT, SIZE = 20_000, (512, 384)
_CHUNK = 64


def write_photos(folder: Path, count: int) -> Path:
    """Write `count` JPEGs, each another part of a photo of TrashNet, as train/ and val/ of its classes."""
    root = folder / f"photos{count}"
    sources = sorted((trashnet(folder) / "train").glob("*/*.jpg"))
    jobs = [(number, sources[number % len(sources)], root) for number in range(count)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_write_photo, jobs, chunksize=_CHUNK))
    return root


def _write_photo(job: tuple[int, Path, Path]) -> None:
    number, source, root = job
    chance = np.random.default_rng(number)
    with Image.open(source) as photo:
        width, height = photo.size
        share = chance.uniform(0.5, 0.9)
        left, top = chance.uniform(0, 1 - share, 2) * (width, height)
        part = photo.convert("RGB").resize(
            SIZE, Image.Resampling.BICUBIC, (left, top, left + share * width, top + share * height)
        )
    noise = chance.normal(0, 4, (SIZE[1], SIZE[0], 1))
    pixels = np.clip(np.asarray(part) + noise, 0, 255).astype(np.uint8)
    path = root / ("val" if number % 5 == 0 else "train") / source.parent.name / f"{number:06}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=88)


def _decode(path: str) -> int:
    with Image.open(path) as image:
        return image.convert("RGB").width


def bare(root: Path) -> None:
    """Decode every file in as many processes as there are cores."""
    paths = sorted(map(str, root.rglob("*.jpg")))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        assert set(pool.map(_decode, paths, chunksize=_CHUNK)) == {SIZE[0]}


def measured(side: str, root: Path) -> dict[str, float]:
    """Return the seconds of one side, by the clock and of the CPU, and the largest memory of its process in MiB."""
    begun = time.perf_counter()
    if side == "bare":
        bare(root)
    else:
        found = check_data(DataConfig(root=root))
        assert not found.is_refused
    seconds = time.perf_counter() - begun
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = sum(each.ru_utime + each.ru_stime for each in (own, children))
    return {"seconds": seconds, "cpu": cpu, "mib": own.ru_maxrss / 1024}


def measure(count: int, images: int = COUNT) -> str:
    """The section of the results."""
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        root, few = write_photos(folder, images), write_photos(folder, images // 4)
        child("data_check.py", "--side", "bare", "--root", root)  # the files are in memory from here on
        for _ in range(count):
            peer = child("data_check.py", "--side", "bare", "--root", root)
            own = child("data_check.py", "--side", "check", "--root", root)
            found.append((peer, own))
        small = child("data_check.py", "--side", "check", "--root", few)
    rates = [images / own["seconds"] for _, own in found]
    wall, cpu = ([peer[name] / own[name] for peer, own in found] for name in ("seconds", "cpu"))
    return f"""## Check of a data set

{images:,} JPEGs of {SIZE[0]} x {SIZE[1]} pixels on {len(os.sched_getaffinity(0))} cores, without a page.

| | | target |
|---|---|---|
| images per second | {spread(rates, "", digits=0)} | |
| against a bare parallel decode, by the clock | {spread(wall, "", digits=2)} | 0.8 |
| the same in CPU seconds, which other work on the machine disturbs less | {spread(cpu, "", digits=2)} | |
| largest memory, {images // 4:,} and {images:,} images | {small["mib"]:.0f} and {own["mib"]:.0f} MiB | flat |
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("bare", "check"))
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, default=COUNT)
    own, rest = parser.parse_known_args()
    if own.side is not None:
        print(json.dumps(measured(own.side, own.root)))
    else:
        sys.argv = [sys.argv[0], *rest]
        print(measure(repeats(), own.images))
