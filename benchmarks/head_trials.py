"""Cost of 8, 16 and 64 trials of a frozen backbone, from the shell's prompt to the leaderboard.

Thaw (`thaw sweep`, nothing cached) and a sweep as Ray's guide leads one to write it (`peer_ray_guide.py`, with frozen
BatchNorm in eval mode, which is quicker and better than the other way) compute the same trials on the same photos. The
floor decodes the photos, computes the features of both architectures, and trains one head of each. All seconds are
those of a command, imports and Ray's start included. Target: Thaw takes at most 1.5 times the floor plus 10 s, with a
best macro-F1 no lower than that of the peer less 0.01.

The peer computes each trial alike, 64 of them for an hour or more on all photos. So it is measured on one training
photo in eight, where Thaw can save less of its time.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setting import child, few_photos, head_points, photo_sweep, ratios, repeats, spread, trashnet, write_json

from analysis.leaderboard import Leaderboard
from analysis.run_folder import open_run

COUNTS = (8, 16, 64)
PHOTOS = {"one training photo in eight": few_photos, "all photos": trashnet}
WITH_PEER = "one training photo in eight"
FACTOR, MORE = 1.5, 10.0


def measure(count: int) -> str:
    """The section of the results."""
    found = {
        (name, trials): [compare(photos, trials, name == WITH_PEER) for _ in range(count)]
        for name, photos in PHOTOS.items()
        for trials in COUNTS
    }
    table = "\n".join(row(*case, sides) for case, sides in found.items())
    return f"""## Head trials

Two architectures x learning rate x balance, 6 epochs, 96 px, batches of 32, one core per trial. Seconds from the
shell's prompt to the leaderboard.

| photos | trials | floor | Thaw | {FACTOR:g} x floor + {MORE:g} s | peer | peer / Thaw | macro-F1: Thaw, peer |
|---|---|---|---|---|---|---|---|
{table}
"""


def compare(photos: Callable[[Path], Path], trials: int, with_peer: bool) -> dict[str, dict[str, Any]]:
    """Run each side once."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, points = Path(temporary), head_points(trials)
        root = photos(folder)
        sweep = photo_sweep(folder, points)
        sweep["data"]["root"] = root
        listed = write_json(folder / "points.json", points)
        sides = {
            "floor": child("floor.py", write_json(folder / "two.json", points[:2]), root, folder / "floor"),
            "thaw": thaw_sweep(write_json(folder / "sweep.yaml", sweep), folder / "runs" / sweep["name"]),
        }
        return sides | ({"peer": child("peer_ray_guide.py", listed, root, "eval")} if with_peer else {})


def thaw_sweep(file: Path, run: Path) -> dict[str, Any]:
    """Run `thaw sweep` as a user types it."""
    thaw, started = str(Path(sys.executable).with_name("thaw")), time.perf_counter()
    subprocess.run([thaw, "sweep", str(file)], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    print(f"  {file.name}: {seconds:.1f} s", flush=True)
    return {"command": seconds, "objective": Leaderboard.from_run(open_run(run)).winner().objective}


def row(photos: str, trials: int, sides: list[dict[str, dict[str, Any]]]) -> str:
    """One row of the table."""
    floor, own = ([each[side]["command"] for each in sides] for side in ("floor", "thaw"))
    limit = [FACTOR * each + MORE for each in floor]
    scores = [spread([each["thaw"]["objective"] for each in sides], digits=3)]
    peer = ratio = "-"
    if "peer" in sides[0]:
        seconds = [each["peer"]["command"] for each in sides]
        peer, ratio = spread(seconds), spread(ratios(seconds, own))
        scores.append(spread([each["peer"]["objective"] for each in sides], digits=3))
    cells = photos, trials, spread(floor), spread(own), spread(limit), peer, ratio, ", ".join(scores)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    print(measure(repeats()))
