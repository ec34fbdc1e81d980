"""Distance of a sweep of all kinds of trials from the arithmetic that it cannot do without.

8 head, 2 partial and 2 full trials over both architectures: Thaw, with an empty cache, against the floor (`floor.py`);
the peer of the guides beside it. Target: at most 1.1 times the floor, plus the imports of the first trials. No side has
a baseline: Thaw's linear probes, which a sweep measures before its trials by default, are measured in a sweep more.
"""

import tempfile
from pathlib import Path

from setting import child, left_out, mixed_points, photo_sweep, ratios, repeats, spread, write_json

TARGET = 1.1


def measure(count: int) -> str:
    """The section of the results."""
    thaw, probed, floor, peer = [], [], [], []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as temporary:
            folder, points = Path(temporary), mixed_points()
            sweep = photo_sweep(folder, points)
            root, listed = sweep["data"]["root"], write_json(folder / "points.json", points)
            probed.append(child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), "probed"))
            sweep["search"]["probe"], sweep["storage"]["cache_dir"] = False, folder / "other cache"
            sweep["name"] = "unprobed"
            thaw.append(child("thaw_sweep.py", write_json(folder / "sweep.yaml", sweep), "thaw"))
            floor.append(child("floor.py", listed, root, folder / "floor"))
            peer.append(child("peer_ray_guide.py", listed, root, "eval"))
    own, least, guide = ([each["seconds"] for each in side] for side in (thaw, floor, peer))
    # What a worker imports is what the driver imports, with Ray's and Optuna's share.
    imports = [each["imports"] for each in thaw]
    after = [seconds - first for seconds, first in zip(own, imports, strict=True)]
    rest = spread(ratios(after, least), digits=2)
    baseline = spread([each["seconds"] - seconds for each, seconds in zip(probed, own, strict=True)])
    scores = [spread([each["objective"] for each in side], digits=3) for side in (thaw, floor, peer)]
    return f"""## Mixed trials

8 head, 2 partial, 2 full over both architectures, 6 epochs, 96 px, batches of 32, one core a trial.

| | seconds | over the floor | best macro-F1 |
|---|---|---|---|
| floor: the arithmetic alone, on tensors in memory, freed memory kept as in Thaw | {spread(least)} | 1 | {scores[1]} |
| Thaw, imports of its workers included | {spread(own)} | {spread(ratios(own, least), digits=2)} | {scores[0]} |
| Thaw less the imports, {spread(imports)} | {spread(after)} | {rest} (target {TARGET}) | |
| peer, BatchNorm in eval mode | {spread(guide)} | {spread(ratios(guide, least), digits=2)} | {scores[2]} |

Linear probes of both architectures, before the trials: {baseline} s more.

The peer takes {spread(ratios(guide, own))} times as long as Thaw. {left_out(thaw, "Thaw")}; {left_out(peer, "peer")}.
"""


if __name__ == "__main__":
    print(measure(repeats()))
