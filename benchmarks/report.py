"""Runs the benchmarks of `make bench`, all or those named, and writes `benchmarks/results.md`, a section each."""

import argparse
import datetime
import re
import time
from pathlib import Path

import dashboard
import data_check
import freed_memory
import further_worker
import head_trials
import layout
import many_heads
import many_trials
import memory
import mixed_trials
import pages
import ten_thousand
import trackers
import trivial_trials
from setting import machine

RESULTS = Path(__file__).with_name("results.md")
# The short ones first.
MODULES = (
    *(memory, layout, freed_memory, further_worker, data_check, pages, dashboard, trivial_trials, many_trials),
    *(many_heads, trackers, ten_thousand, mixed_trials, head_trials),
)
QUESTIONS = {module.__name__: module.measure for module in MODULES}

HEAD = """# What a sweep costs

`make bench` writes this page. Figures are medians over the repeats, with the minimum and the maximum in brackets; each
side of each repeat is a process of its own, with empty caches. Ray's start and the driver's imports are once per sweep,
whatever is in it; unless a section says otherwise, they are left out on every side, and printed. Each file of
`benchmarks/` says exactly what it compares; `benchmarks/report.py head_trials --repeats 1` measures one of them anew.
"""


def main() -> None:
    """Measure, and write what there is after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("questions", nargs="*", default=list(QUESTIONS), help="by default all: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    options = parser.parse_args()
    if not QUESTIONS.keys() >= set(options.questions):
        parser.error(f"questions must be of {', '.join(QUESTIONS)}; got {', '.join(options.questions)}")
    for name in options.questions:
        print(f"{name}:", flush=True)
        started = time.perf_counter()
        section = QUESTIONS[name](options.repeats)
        minutes = (time.perf_counter() - started) / 60
        times = "once" if options.repeats == 1 else f"{options.repeats} times"
        section += f"\nMeasured {times} in {minutes:.0f} minutes, {datetime.date.today()}, on {machine()}.\n"
        sections = known_sections() | {name: f"<!-- {name} -->\n{section}"}
        RESULTS.write_text("\n".join([HEAD, *(sections[name] for name in QUESTIONS if name in sections)]))
        print(section, flush=True)


def known_sections() -> dict[str, str]:
    """Text that earlier measurements left in the page, by question."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(r"(?m)^(?=<!-- \w+ -->$)", text)[1:]
    return {part[5 : part.index(" -->")]: part.rstrip() + "\n" for part in parts}


if __name__ == "__main__":
    main()
