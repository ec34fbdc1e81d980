"""The Thaw side: `run_sweep` of a sweep file, in a process of its own. Prints one line of JSON.

`seconds` is all that `run_sweep` does, from looking at the photos to the leaderboard; `own` are the core seconds of
this process and of its children that have ended, which are those of trackers: the trials are children of Ray. The
driver's imports and Ray's start are measured by themselves, before it: every side has them, once a sweep.
"""

import json
import os
import sys
import time
from pathlib import Path

import psutil
from setting import process_age

from analysis.run_folder import RunFolder
from orchestrator.cluster import runtime
from orchestrator.driver.sweep import run_sweep
from orchestrator.spec.loading import load
from orchestrator.tracking.observer import TrialCallback
from trainables.result import TrialResult


def main() -> None:
    """Run the sweep of the file given and print how long everything took."""
    imports = process_age()
    path = Path(sys.argv[1])
    spec = load(path)
    run = RunFolder(spec.run_root)
    ends: list[float] = []
    driver: list[float] = []
    memory: list[float] = []
    driver_memory: list[float] = []

    def note(trial: TrialResult) -> None:
        if not trial.status.unfinished:
            ends.append(time.perf_counter())
            driver.append(time.process_time())
            memory.append(worker_mib(run, trial.trial_id))
            driver_memory.append(psutil.Process().memory_info().rss / 2**20)

    before = time.perf_counter()
    with runtime.connected(path.parent):
        ray = time.perf_counter() - before
        before, busy, own = time.perf_counter(), core_seconds(), sum(os.times()[:4])
        outcome = run_sweep(spec, observers=[TrialCallback(note)])
        seconds, busy, own = time.perf_counter() - before, core_seconds() - busy, sum(os.times()[:4]) - own
    winner = outcome.leaderboard.winner()
    found = {
        "seconds": seconds,
        "core_seconds": busy,
        "own": own,
        "imports": imports,
        "ray": ray,
        "objective": winner.objective,
    }
    found |= {"first": ends[0] - before, "ends": [end - ends[0] for end in ends], "driver": driver, "memory": memory}
    found["driver_memory"] = driver_memory
    print(json.dumps(found))


def core_seconds() -> float:
    """Seconds that the cores of this machine have been busy since its start, with trials, Ray and trackers alike."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def worker_mib(run: RunFolder, trial_id: str) -> float:
    """Resident memory, in MiB, of the process that runs a trial; its log names it in every line."""
    pid = int(run.log(trial_id).read_text().partition("[")[2].partition("]")[0])
    return float(psutil.Process(pid).memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
