"""Cost of a tracker in a sweep of 64 frozen-backbone trials: none, W&B offline, TensorBoard, MLflow in a folder.

The sides alternate within each repeat and begin it in turn; every side is a process of its own with empty caches. The
trials are over in half a second each, so this is close to the worst case. Target: at most 3 % each. Beside it stands
what the clients take by themselves for such runs: less is not to be had with them.
"""

import itertools
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from setting import ARCHITECTURES, Point, child, left_out, photo_sweep, ratios, repeats, spread, write_json

CORES = os.cpu_count()

SIDES: dict[str, dict[str, Any]] = {
    "no tracker": {"wandb": {"mode": "disabled"}},
    "W&B offline": {"wandb": {"mode": "offline"}},
    "TensorBoard": {"wandb": {"mode": "disabled"}, "tensorboard": {}},
    "MLflow, a folder": {"wandb": {"mode": "disabled"}, "mlflow": {}},
}


def points() -> list[Point]:
    """64 head trials: both architectures, 16 learning rates, with and without a weighted loss."""
    rates = [1e-4 * 10 ** (number / 6) for number in range(16)]
    return [
        {"architecture": architecture, "strategy": "head", "lr": lr, "balance": balance}
        for lr, balance, architecture in itertools.product(rates, ("none", "loss"), ARCHITECTURES)
    ]


def measure(count: int) -> str:
    """The section of the results."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    names = list(SIDES)
    for number in range(count):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                sweep = photo_sweep(folder, points()) | {"tracking": SIDES[name]}
                found[name].append(child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), name))
    plain = found["no tracker"]
    rows = []
    for name, sides in found.items():
        seconds, cores = ([each[key] for each in sides] for key in ("seconds", "core_seconds"))
        over = more = ""
        if name != "no tracker":
            over = spread([100 * (ratio - 1) for ratio in ratios(seconds, [each["seconds"] for each in plain])], " %")
            pairs = zip(sides, plain, strict=True)
            more = spread([100 * (side["own"] - none["own"]) / none["core_seconds"] for side, none in pairs], " %")
        own = spread([each["own"] for each in sides])
        rows.append(f"| {name} | {spread(seconds)} | {over} | {spread(cores)} | {own} | {more} |")
    table = "\n".join(rows)
    return f"""## Trackers

64 head trials of 6 epochs: two architectures x 16 learning rates x with and without a weighted loss, 96 px, one core a
trial.

| | seconds | more than without | core seconds | of driver and tracker | more than without, of all core seconds |
|---|---|---|---|---|---|
{table}
| target | | 3 % | | | 3 % |

Core seconds are those of the whole machine during the sweep, with Ray and its trials; a tracker works in the driver and
in children of it. Equal sweeps differ by as much as the first column says, their drivers hardly.

By themselves the clients take, for 64 such runs with the fewest calls, on all cores together: {_bare()}. That is the
least that a tracker costs: one whose client takes more than the target by itself cannot reach it in so short a sweep.
The machine has {CORES} cores.

{left_out([each for sides in found.values() for each in sides], "all")}.
"""


def _bare() -> str:
    """Core seconds of the clients without Thaw, the median of three."""
    texts = []
    for name in ("wandb", "mlflow"):
        found = [child("bare_client.py", name) for _ in range(3)]
        whole, imports = (statistics.median(each[key] for each in found) for key in ("seconds", "imports"))
        texts.append(f"{name} {whole:.1f} core seconds, of them {imports:.1f} for its import")
    return ", ".join(texts)


if __name__ == "__main__":
    print(measure(repeats()))
