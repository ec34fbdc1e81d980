"""Runs every benchmark of `make bench` and writes `benchmarks/results.md`, a section each."""

import datetime
import time
from pathlib import Path

import head_trials
import many_trials
import memory
import mixed_trials
import trivial_trials
from setting import machine, repeats

RESULTS = Path(__file__).with_name("results.md")


def main() -> None:
    """Measure, the short ones first, and write what there is after each."""
    count, started = repeats(), time.perf_counter()
    head = f"""# What a sweep costs

`make bench REPEATS={count}` on {machine()}, {datetime.date.today()}. Figures are medians over {count} repeats, with
the minimum and the maximum; each side of each repeat is a process of its own, with empty caches. Ray's start and the
driver's imports are once a sweep, whatever is in it; they are left out on every side, and printed.
Each file of `benchmarks/` says exactly what it compares, and runs alone: `benchmarks/head_trials.py --repeats 1`.
"""
    sections: list[str] = []
    for question in (memory, trivial_trials, many_trials, mixed_trials, head_trials):
        print(f"{question.__name__}:", flush=True)
        sections.append(question.measure(count))
        minutes = f"\nMeasured in {(time.perf_counter() - started) / 60:.0f} minutes.\n"
        RESULTS.write_text("\n".join([head, *sections]) + minutes)
        print(sections[-1], flush=True)


if __name__ == "__main__":
    main()
