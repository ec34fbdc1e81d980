"""Ten thousand trials: what a proposal, a look at the run, and a trial in the driver's memory cost.

By hand: `python benchmarks/ten_thousand.py --repeats 3`. The ledger is written by hand. A proposal is what
`Proposals.next` takes with so many trials judged, while a few run. Commands are processes of their own, with the index
that the first reader leaves. Memory is that of a driver whose trials train nothing, under the real Tune.

The simulated cluster has 800 workers, whose trials take 30 seconds each, give or take a half. Time is virtual; the one
driver is charged with the processor time that a trial takes it here: proposal, records, and what the study is told of
it, one trial after another. A worker is idle from the end of its trial to the next one's start; the first start of all
is left out. Tune's own loop is charged with the 9 ms per trial of Ray's release tests. Left out is the flush of records
to the disk. Processor time is lengthened less by a busy machine; commands are timed by the clock.
Targets: a proposal below 50 ms, each command below 1.5 s, a few kB of memory per trial, workers idle below 5 %.
"""

import heapq
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from many_trials import CONDITIONAL
from pages import THAW, seconds
from ray import tune
from setting import child, repeats, spread, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from run_records import run_record

from analysis.ledger import Ledger, record_text
from analysis.run_folder import RunFolder
from orchestrator.cluster.local_ray import local_ray
from orchestrator.search.proposals import Proposals
from orchestrator.search.study import build_study
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tuner import tuner
from orchestrator.tuner.searcher import LedgerSearcher
from orchestrator.tuner.trial_states import TrialStates
from orchestrator.worker.assignment import Answer, Assignment, EndKind, TrialEnd
from search_spaces.space import sample
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

COUNTS = (100, 1_000, 10_000)
PROPOSALS = 40
WORKERS, TRAINING, SIMULATED = 800, 30.0, 1_200
TUNE = 0.009
"""Seconds of Tune's own loop per trial: 10,000 trials of one second on 16 cores take 715 s in Ray's release tests."""
STUBS = 2_000
EPOCHS = 4


def sweep(folder: Path, trials: int) -> SweepSpec:
    """A sweep by TPE in a conditional space."""
    trial = {"architecture": "resnet18", "epochs": EPOCHS}
    values = {"name": "many", "data": {"root": "photos"}, "trial": trial, "space": CONDITIONAL}
    return load(write_json(folder / "sweep.yaml", values | {"search": {"trials": trials}, "stopping": "none"}))


def trained(trial: TrialResult, chance: random.Random) -> TrialResult:
    """The trial with all its epochs."""
    reports = tuple(
        EpochReport(
            epoch=epoch,
            metrics={"val/macro_f1": chance.random(), "val/loss": chance.random(), "train/loss": chance.random()},
            seconds=1,
            checkpoint="best",
            ended_by="budget" if epoch == EPOCHS else None,
        )
        for epoch in range(1, EPOCHS + 1)
    )
    return trial.model_copy(update={"reports": reports})


def judged(spec: SweepSpec, count: int) -> Iterator[TrialResult]:
    """Trials at random points, completed or stopped."""
    chance = random.Random(0)
    for number, point in enumerate(sample(spec.search_space, count, seed=0)):
        trial = TrialResult(trial_id=f"{number:04d}", config=spec.trial_config(point), parameters=point)
        status = chance.choice([Status.COMPLETED, Status.PRUNED])
        yield trained(trial, chance).model_copy(update={"status": status})


class Driver:
    """Work of a driver for each trial, without Tune: in a folder, with `known` trials before it."""

    def __init__(self, folder: Path, known: int, more: int) -> None:
        spec = sweep(folder, known + more)
        trials = list(judged(spec, known))
        study = build_study("many", spec.problem, trials, folder / "study.log")
        self.states = TrialStates(Ledger(RunFolder(folder)), study, lambda trial: None, lambda error: None)
        self.proposals = Proposals(spec.problem, study, trials, [], lambda config: 1.0)
        self.chance = random.Random(1)
        self.running: dict[str, TrialResult] = {}

    def begin(self) -> tuple[str, float]:
        """Begin the next trial; returns its id and the seconds of the proposal alone."""
        begun = time.process_time()
        proposal = self.proposals.next()
        took = time.process_time() - begun
        assert proposal is not None
        trial_id = proposal.trial.trial_id
        self.running[trial_id] = self.states.begin(trial_id, proposal)
        return trial_id, took

    def end(self, trial_id: str) -> None:
        """Enter a trial's epochs, one after another, and its end."""
        trial = trained(self.running.pop(trial_id), self.chance)
        for epoch in range(1, EPOCHS + 1):
            self.states.report(trial_id, trial.model_copy(update={"reports": trial.reports[:epoch]}))
        self.states.end(trial_id, trial, TrialEnd(kind=EndKind.COMPLETED))


def proposals(known: int) -> list[float]:
    """Seconds of proposals after so many trials: the sampler's and random ones in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        driver, took = Driver(Path(temporary), known, PROPOSALS), []
        for _ in range(PROPOSALS):
            trial_id, each = driver.begin()
            took.append(each)
            driver.end(trial_id)
    return took


def idle_share(known: int) -> tuple[float, float]:
    """Share of the workers' time without a trial, and mean seconds that the driver is busy with a trial."""
    chance = random.Random(2)
    with tempfile.TemporaryDirectory() as temporary:
        driver = Driver(Path(temporary), known, WORKERS + SIMULATED)
        ends = [(TRAINING * chance.random(), driver.begin()[0]) for _ in range(WORKERS)]
        heapq.heapify(ends)
        free = idle = busy = 0.0  # time at which the driver is free; seconds of all workers; of the driver
        for _ in range(SIMULATED):
            ended, trial_id = heapq.heappop(ends)
            begun = time.process_time()
            driver.end(trial_id)
            following, _ = driver.begin()
            took = time.process_time() - begun + TUNE
            free = max(free, ended) + took
            idle, busy = idle + free - ended, busy + took
            heapq.heappush(ends, (free + TRAINING * (0.5 + chance.random()), following))
    trained_for = SIMULATED * TRAINING
    return idle / (idle + trained_for), busy / SIMULATED


def commands(trials: int) -> dict[str, float]:
    """Seconds of the commands that show a run, with the index that the first of them leaves."""
    with tempfile.TemporaryDirectory() as temporary:
        run = RunFolder(Path(temporary) / "run")
        run.trials.mkdir(parents=True)
        Ledger(run).write_run(run_record(name="many", trials_planned=trials))
        for trial in judged(sweep(Path(temporary), trials), trials):
            run.trial(trial.trial_id).write_text(record_text(trial))
        time.sleep(3)  # records that have just changed are not entered
        found = {"first": seconds("-c", THAW, "leaderboard", run.root)}
        return found | {name: seconds("-c", THAW, name, run.root) for name in ("leaderboard", "status")}


class Stub(tune.Trainable):
    """A trial that trains nothing and answers as one that has completed."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take up an assignment."""
        self.trial = Assignment.from_tune(config).trial

    def step(self) -> dict[str, Any]:
        """Return all epochs at once."""
        end = TrialEnd(kind=EndKind.COMPLETED)
        return Answer(trial=trained(self.trial, random.Random(self.trial.trial_id)), end=end).to_tune()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another assignment."""
        self.setup(new_config)
        return True


class NeverStopped(tune.Stopper):
    """A stopper that stops nothing."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return that a trial continues."""
        return False

    def stop_all(self) -> bool:
        """Return that the sweep continues."""
        return False


def memory() -> None:
    """Run a sweep of stubs under Tune; prints the driver's MiB after each trial as JSON."""
    found: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spec, run = sweep(folder, STUBS), RunFolder(folder / "run")

        def note(trial: TrialResult) -> None:
            if not trial.status.unfinished:
                found.append(psutil.Process().memory_info().rss / 2**20)

        run.local.mkdir()
        study = build_study("many", spec.problem, [], run.study_log)
        states = TrialStates(Ledger(run), study, note, lambda error: None)
        searcher = LedgerSearcher(
            Proposals(spec.problem, study, [], [], lambda config: 1.0),
            states,
            lambda trial: Assignment(trial=trial, run=run.root, cache=folder, resources=spec.resources),
        )
        stopper: Any = NeverStopped()
        with local_ray(2), mock.patch.object(tuner, "TrialActor", Stub):
            tuner.make_tuner(run, spec.resources, searcher, None, stopper, follow_nodes=False).fit()
    print(json.dumps({"memory": found}))


def growth(found: dict[str, Any], part: int) -> float:
    """kB per trial by which the driver has grown in a quarter of its sweep."""
    quarter = STUBS // 4
    own = found["memory"]
    return float(1024 * (own[(part + 1) * quarter - 1] - own[part * quarter]) / (quarter - 1))


def measure(count: int) -> str:
    """The section of the results."""
    asked: dict[int, list[float]] = {known: [] for known in COUNTS}
    shown: list[dict[str, float]] = []
    idle: dict[int, list[tuple[float, float]]] = {0: [], COUNTS[-1]: []}
    grown: list[dict[str, Any]] = []
    for _ in range(count):
        for known, took in asked.items():
            own = proposals(known)
            took += [1000 * statistics.fmean(own)]
        shown.append(commands(COUNTS[-1]))
        for known, shares in idle.items():
            shares.append(idle_share(known))
        grown.append(child("ten_thousand.py", "memory"))
    rows = [
        f"| a proposal after {known:,} trials, mean | {spread(took, ' ms')} | 50 ms |" for known, took in asked.items()
    ]
    rows += [
        f"| `thaw {name}`, {COUNTS[-1]:,} trials | {spread([each[name] for each in shown], ' s', digits=2)} | 1.5 s |"
        for name in ("leaderboard", "status")
    ]
    rows += [
        f"| the first `thaw leaderboard`, without an index | {spread([each['first'] for each in shown], ' s')} | |"
    ]
    for known, shares in idle.items():
        part = spread([100 * share for share, _ in shares], " %")
        busy = spread([1000 * each for _, each in shares], " ms")
        rows.append(f"| {WORKERS} workers idle, from trial {known:,} on; driver per trial | {part}; {busy} | 5 % |")
    for part in range(4):
        growths = spread([growth(each, part) for each in grown], " kB")
        rows.append(f"| driver's memory per trial, quarter {part + 1} of {STUBS:,} | {growths} | |")
    table = "\n".join(rows)
    return f"""## Ten thousand trials

| | | target |
|---|---|---|
{table}
"""


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        memory()
    else:
        print(measure(repeats()))
