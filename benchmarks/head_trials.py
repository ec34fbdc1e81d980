"""Cost of 8 and 16 trials of a frozen backbone, against a sweep as the guides write it.

Both compute the same trials on the same photos: `setting.head_points`. Thaw computes the features of each architecture
once, the peer a full forward pass an epoch. Target: a tenth of the peer's time at 8 trials, an eighteenth at 16, with
a best macro-F1 no lower than that of the peer with frozen BatchNorm in eval mode, less 0.01.
"""

import tempfile
from pathlib import Path

from setting import child, head_points, left_out, photo_sweep, ratios, repeats, spread, write_json

TARGETS = {8: 10, 16: 18}


def measure(count: int) -> str:
    """The section of the results."""
    rows = []
    for trials, target in TARGETS.items():
        thaw, peers = [], {"train": [], "eval": []}
        for _ in range(count):
            with tempfile.TemporaryDirectory() as temporary:
                folder, points = Path(temporary), head_points(trials)
                sweep = photo_sweep(folder, points)
                thaw.append(child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), "thaw", trials))
                for mode, found in peers.items():
                    listed = write_json(folder / "points.json", points)
                    found.append(child("peer_ray_guide.py", listed, sweep["data"]["root"], mode))
        own = [each["seconds"] for each in thaw]
        rows.append(f"| {trials} | Thaw | {spread(own)} | | {scores(thaw)} |")
        for mode, found in peers.items():
            seconds = [each["seconds"] for each in found]
            ratio = spread(ratios(seconds, own))
            rows.append(
                f"| {trials} | peer, BatchNorm in {mode} mode | {spread(seconds)} | {ratio} | {scores(found)} |"
            )
        outside = f"{left_out(thaw, 'Thaw')}; {left_out(peers['train'] + peers['eval'], 'peer')}"
        rows.append(f"| {trials} | {outside} | | | |")
        rows.append(f"| {trials} | target | | {target} | the peer's in eval mode - 0.01 |")
    table = "\n".join(rows)
    return f"""## Head trials

Two architectures x learning rate x balance, 6 epochs, 96 px, batches of 32, one core a trial.

| trials | | seconds | peer / Thaw | best macro-F1 |
|---|---|---|---|---|
{table}
"""


def scores(found: list[dict[str, float]]) -> str:
    """The best objective of each repeat."""
    return spread([each["objective"] for each in found], digits=3)


if __name__ == "__main__":
    print(measure(repeats()))
