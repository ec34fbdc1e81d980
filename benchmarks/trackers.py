"""Cost of a tracker in a sweep of 64 frozen-backbone trials: none, W&B offline, TensorBoard, MLflow in a folder.

The sides alternate within each repeat and begin it in turn; every side is a process of its own with empty caches. The
trials are over in half a second each, so this is close to the worst case. Target: at most 3 % each.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from setting import ARCHITECTURES, Point, child, left_out, photo_sweep, ratios, repeats, spread, write_json

SIDES: dict[str, dict[str, Any]] = {
    "no tracker": {"wandb": {"mode": "disabled"}},
    "W&B offline": {"wandb": {"mode": "offline"}},
    "TensorBoard": {"wandb": {"mode": "disabled"}, "tensorboard": {}},
    "MLflow, a folder": {"wandb": {"mode": "disabled"}, "mlflow": {}},
}

# By image size; a sweep of 224 px takes minutes, and TensorBoard costs nothing at 96 px.
MEASURED = {96: tuple(SIDES), 224: ("no tracker", "W&B offline", "MLflow, a folder")}


def points() -> list[Point]:
    """64 head trials: both architectures, 16 learning rates, with and without a weighted loss."""
    rates = [1e-4 * 10 ** (number / 6) for number in range(16)]
    return [
        {"architecture": architecture, "strategy": "head", "lr": lr, "balance": balance}
        for lr, balance, architecture in itertools.product(rates, ("none", "loss"), ARCHITECTURES)
    ]


def measure(count: int) -> str:
    """The section of the results."""
    found = {size: _measure(count, size, names) for size, names in MEASURED.items()}
    rows = [row for size, sides in found.items() for row in _rows(size, sides)]
    table = "\n".join(rows)
    return f"""## Trackers

64 head trials of 6 epochs on 1,764 photos: two architectures x 16 learning rates x with and without a weighted loss,
one core a trial. 224 px is the size of the weights; at 96 px a sweep is over before anyone looks at a tracker.

| image size | | seconds | more than without | of them from the first trial's end to the last one's | after the last |
|---|---|---|---|---|---|
{table}
| | target | | 3 % | | |

A trial takes 0.4 s here. The clients themselves, called for 64 such runs without Thaw, take on a core: {_bare()}.

{left_out([each for sides in found.values() for runs in sides.values() for each in runs], "all")}.
"""


def _measure(count: int, size: int, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(count):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                sweep = photo_sweep(folder, points()) | {"tracking": SIDES[name]}
                sweep["data"]["image_size"] = size
                found[name].append(child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), f"{name}, {size}"))
    return found


def _rows(size: int, found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    plain = [each["seconds"] for each in found["no tracker"]]
    for name, sides in found.items():
        seconds = [each["seconds"] for each in sides]
        over = "" if name == "no tracker" else spread([100 * (ratio - 1) for ratio in ratios(seconds, plain)], " %")
        trials = [each["ends"][-1] for each in sides]
        end = [each["seconds"] - each["first"] - each["ends"][-1] for each in sides]
        yield f"| {size} px | {name} | {spread(seconds)} | {over} | {spread(trials)} | {spread(end)} |"


def _bare() -> str:
    """What the clients take without Thaw, with the fewest calls that leave the same records."""
    found = {name: child("bare_client.py", name) for name in ("wandb", "mlflow")}
    return ", ".join(
        f"{name} {each['seconds']:.1f} s (its import {each['imports']:.1f} s)" for name, each in found.items()
    )


if __name__ == "__main__":
    print(measure(repeats()))
