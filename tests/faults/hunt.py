"""Hunt for faults: kills at random moments, pairs of commands, clocks that differ, drivers that sleep. Run by hand.

    make faults [SEED=1] [KILLS=100] [PAIRS=20]

Each part prints its seeds, and counts what it did; the first difference is an error. A hundred kills take 40 minutes.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "helpers"), str(TESTS)]

from driver_faults import KINDS, Hunt, kill_sweep, start_thaw  # noqa: E402

KILLS_PER_RUN = 5


def hunt_kills(seed: int, kills: int, folder: Path) -> int:
    """Kill drivers, workers, Ray's servers, and all at once; return the number of runs that were not whole."""
    done, failures, seconds = Counter[str](), 0, dict[str, list[float]]()
    for number in range(-(-kills // KILLS_PER_RUN)):
        rng = random.Random(f"{seed}/{number}")
        kinds = [*KINDS]
        rng.shuffle(kinds)
        place = folder / f"kills{number}"
        place.mkdir()
        hunt = Hunt(start_thaw(folder / "cache"), *kill_sweep(folder, place), rng)
        begun = time.monotonic()
        try:
            hunt.run(kinds[: min(KILLS_PER_RUN, kills - sum(done.values()))])
            verdict = "whole"
        except Exception:
            failures += 1
            verdict = "NOT WHOLE\n" + traceback.format_exc()
        done += hunt.kills
        for kind, values in hunt.seconds.items():
            seconds.setdefault(kind, []).extend(values)
        print(f"seed {seed}/{number}: {', '.join(kinds)}; {time.monotonic() - begun:.0f} s; {verdict}", flush=True)
    print(f"{sum(done.values())} kills in all: {dict(done)}; runs that were not whole: {failures}")
    print("longest time to the end of the driver:", {kind: f"{max(values):.1f} s" for kind, values in seconds.items()})
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=20)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        failures += hunt_kills(given.seed, given.kills, Path(folder))
    os.environ["THAW_FAULTS"] = f"{given.seed}/{given.pairs}"
    files = ("analysis/test_claim.py", "contracts/test_take_over.py", "soak/test_drivers_meet.py")
    failures += pytest.main(["-q", "-p", "no:cacheprovider", "--durations=0", *(str(TESTS / file) for file in files)])
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
