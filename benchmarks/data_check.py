"""Images per second of `thaw data check` against a bare parallel decode of the same files on the same cores.

20,000 JPEGs of 512 x 384 pixels and 2,000 of 2000 x 1500, parts of TrashNet's photos, no two alike. The bare decode
opens each with Pillow and converts it to RGB, in as many processes as there are cores; the check reads, hashes, decodes
and measures it, finds equal files and near-duplicates, and writes nothing. Both take turns in one run, each in a
process of its own. Targets: 0.8 of the bare decode, and in the last quarter of the images at most 5 % more memory than
in the second, of all processes together: by their peaks; the means stand beside them.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from setting import child, peak_memory, repeats, spread, trashnet

from trainables.data.check.check import check_data
from trainables.data_config import DataConfig

SIZES = {(512, 384): 20_000, (2000, 1500): 2_000}
_CHUNK = 64
_SAMPLES = 20  # of the memory, each some milliseconds


def write_photos(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Write `count` JPEGs, each another part of a photo of TrashNet, as train/ and val/ of its classes."""
    root = folder / f"photos{size[0]}"
    sources = sorted((trashnet(folder) / "train").glob("*/*.jpg"))
    jobs = [(number, sources[37 * number % len(sources)], root, size) for number in range(count)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_write_photo, jobs, chunksize=_CHUNK))
    return root


def _write_photo(job: tuple[int, Path, Path, tuple[int, int]]) -> None:
    number, source, root, size = job
    chance = np.random.default_rng(number)
    with Image.open(source) as photo:
        width, height = photo.size
        share = chance.uniform(0.5, 0.9)
        left, top = chance.uniform(0, 1 - share, 2) * (width, height)
        part = photo.convert("RGB").resize(
            size, Image.Resampling.BICUBIC, (left, top, left + share * width, top + share * height)
        )
    noise = chance.normal(0, 4, (size[1], size[0], 1))
    pixels = np.clip(np.asarray(part) + noise, 0, 255).astype(np.uint8)
    path = root / ("val" if number % 5 == 0 else "train") / source.parent.name / f"{number:06}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=88)


def _decode(path: str) -> int:
    with Image.open(path) as image:
        return image.convert("RGB").width


def bare(root: Path) -> None:
    """Decode every file in as many processes as there are cores.

    Pillow keeps the memory of an image for the next one: else the kernel clears its pages, for half of the time.
    """
    Image.core.set_blocks_max(64)
    paths = sorted(map(str, root.rglob("*.jpg")))
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        assert len(set(pool.map(_decode, paths, chunksize=_CHUNK))) == 1


def measured(side: str, root: Path) -> dict[str, float]:
    """Return the seconds of one side, by the clock and of the CPU; of the check also its memory in MiB, by quarter."""
    quarters: list[list[float]] = [[], [], [], []]

    def on_progress(done: int, total: int) -> None:
        if done % max(1, total // _SAMPLES) == 0:
            quarters[4 * (done - 1) // total].append(memory())

    begun = time.perf_counter()
    if side == "bare":
        bare(root)
    else:
        assert not check_data(DataConfig(root=root), on_progress=on_progress).is_refused
    seconds = time.perf_counter() - begun
    # The fork server of the check lives on, so its times are not among those of the children that have ended.
    times = [psutil.Process().cpu_times(), *(each.cpu_times() for each in psutil.Process().children())]
    cpu = sum(each.user + each.system + each.children_user + each.children_system for each in times)
    means = {f"mean{number}": statistics.mean(own or [0]) for number, own in enumerate(quarters, start=1)}
    peaks = {f"peak{number}": max(own, default=0.0) for number, own in enumerate(quarters, start=1)}
    return {"seconds": seconds, "cpu": cpu, "mib": peak_memory(), **means, **peaks}


def memory() -> float:
    """Memory of this process and of all below it, MiB; what they share counts once (PSS)."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(float(each.memory_full_info().pss) for each in processes) / 2**20


def measure(count: int, images: int | None = None) -> str:
    """The section of the results."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for size, usual in SIZES.items():
            rows.append(_row(write_photos(Path(temporary), size, images or usual), size, images or usual, count))
    lines = "\n".join(rows)
    return f"""## Check of a data set

JPEGs on {len(os.sched_getaffinity(0))} cores, without a page. The seconds of the bare parallel decode over those of the
check have the target 0.8; other work on the machine disturbs CPU seconds less. The largest memory of all processes in
the last quarter of the images over that in the second has the target 1.05, and the mean stands beside it. The records
of the images grow, from which the findings are made.

| | images per second | decode over check, by the clock | in CPU seconds | memory, mean | peak | largest of the parent |
|---|---|---|---|---|---|---|
{lines}
"""


def _row(root: Path, size: tuple[int, int], images: int, count: int) -> str:
    found: list[tuple[dict[str, float], dict[str, float]]] = []
    child("data_check.py", "--side", "bare", "--root", root)  # the files are in memory from here on
    for _ in range(count):
        peer = child("data_check.py", "--side", "bare", "--root", root)
        found.append((peer, child("data_check.py", "--side", "check", "--root", root)))
    rates = [images / own["seconds"] for _, own in found]
    wall, cpu = ([peer[name] / own[name] for peer, own in found] for name in ("seconds", "cpu"))
    growth = [[own[f"{name}4"] / own[f"{name}2"] for _, own in found] for name in ("mean", "peak")]
    figures = (spread(rates, digits=0), *(spread(each, digits=2) for each in (wall, cpu, *growth)))
    peak = max(own["mib"] for _, own in found)
    return f"| {images:,} of {size[0]} x {size[1]} | {' | '.join(figures)} | {peak:.0f} MiB |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("bare", "check"))
    parser.add_argument("--root", type=Path)
    parser.add_argument("--images", type=int, help="photos of each size, instead of 20,000 and 2,000")
    own, rest = parser.parse_known_args()
    if own.side is not None:
        print(json.dumps(measured(own.side, own.root)))
    else:
        sys.argv = [sys.argv[0], *rest]
        print(measure(repeats(), own.images))
