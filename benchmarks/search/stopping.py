"""Measure whom early stopping stops, of trials trained to their ends, by strategy: `benchmarks/search/stopping.md`.

    .venv/bin/python benchmarks/search/stopping.py [--hours 2] [--jobs 2]

Trains random points of the `quickstart` preset on the cut-out cards, each to its end, and keeps their curves in
`stopping_curves.json.gz`; a call goes on where the last one ended. Sweeps of them are then replayed under the rungs of
`orchestrator/search/rungs.py` with every grace and reduction, once for all trials and once within each strategy. The
same is replayed from the table of `search_table.py`. Rungs were chosen by the table; the cards judge the choice.
"""

import argparse
import gzip
import itertools
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from replay import Row, Table, regrets, replay
from search_space import TABLE, sweep

sys.path.insert(0, str(Path(__file__).parents[1]))  # setting.py lies there
from setting import WEIGHTS, card_crops, machine

from orchestrator.search.rungs import Rungs
from orchestrator.spec.sections import Asha
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.documents import parse_yaml
from search_spaces.presets import preset_text
from search_spaces.space import Point
from trainables.config import TrialConfig
from trainables.estimate.flops import training_flops
from trainables.loop.train import train
from trainables.model.freeze_plan import freeze_plan
from trainables.result import EpochReport, TrialResult
from trainables.storage.folders import TrialFolders

CURVES, PAGE = Path(__file__).with_name("stopping_curves.json.gz"), Path(__file__).with_name("stopping.md")
POINTS, POINT_SEED = 120, 7
SEEDS = tuple(range(1000, 1400))
TRIALS, WORKERS = 24, 4
BUDGETS = (5, 10, 20)
"""Of a sweep without end, in training FLOPs; the unit is what a trial takes on average when trained to its end."""

RULES = [Asha(grace=grace, reduction=reduction) for grace, reduction in itertools.product((1, 2, 3), (2, 3, 4))]


def cards(root: Path, work: Path) -> SweepSpec:
    """The quickstart sweep on the cards in `root`, without its first points."""
    values = parse_yaml(preset_text("quickstart"), "quickstart")
    values["data"] |= {"root": root, "weights_dir": WEIGHTS}
    values["storage"] = {"root": work / "runs", "cache_dir": work / "cache"}
    del values["search"]["points"]
    return SweepSpec.model_validate({"name": "stopping", **values})


def trained(job: tuple[TrialConfig, Point, Path]) -> dict[str, Any]:
    """Train one configuration to its end; its row of the table."""
    config, point, cache = job
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folders = TrialFolders(Path(folder) / "checkpoints", Path(folder) / "predictions.parquet", cache)
        scores = [round(report.metrics["val/macro_f1"], 5) for report in train(config, folders)]
    return {"point": point, "scores": scores}


def measure(hours: float, jobs: int) -> list[dict[str, Any]]:
    """Train the points that are missing until the hours are over; the rows in the order in which they were drawn."""
    done = json.loads(gzip.decompress(CURVES.read_bytes()))["rows"] if CURVES.exists() else []
    deadline = time.monotonic() + hours * 3600
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        spec = cards(card_crops(work), work)
        points = list(itertools.islice(spec.search_space.draws(POINT_SEED), POINTS))
        missing = [point for point in points if point not in [row["point"] for row in done]]
        queue = [(spec.trial_config(point), point, work / "cache") for point in missing]
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            while queue and time.monotonic() < deadline:
                batch, queue = queue[: 4 * jobs], queue[4 * jobs :]
                done += pool.map(trained, batch, chunksize=1)
                CURVES.write_bytes(gzip.compress(json.dumps({"rows": done}).encode(), mtime=0))
                print(f"{len(done)} of {POINTS}", flush=True)
    return done


@dataclass(frozen=True)
class Trials:
    """Trials trained to their ends, each with its configuration."""

    rows: list[Row]
    configs: list[TrialConfig]

    @property
    def best(self) -> set[int]:
        """The best tenth."""
        final = [max(row.scores) for row in self.rows]
        return set(np.argsort(final)[-round(len(final) / 10) :].tolist())


def from_table() -> Trials:
    """The trials of the search bench, on TrashNet at 48 pixels."""
    spec = sweep({"root": Path("photos")})
    rows = Table.read(TABLE).rows
    return Trials(rows, [spec.trial_config(row.point) for row in rows])


def from_cards(rows: list[dict[str, Any]]) -> Trials:
    """The trials that this bench has trained."""
    spec = cards(Path("photos"), Path())
    configs = [spec.trial_config(row["point"]) for row in rows]
    return Trials(
        [
            Row(row["point"], tuple(row["scores"]), tuple(training_flops(config)), freeze_plan(config).last_boundary)
            for row, config in zip(rows, configs, strict=True)
        ],
        configs,
    )


class Draw:
    """A sweep of trials that were drawn at random, as a side of a replay."""

    def __init__(self, trials: Trials, rule: Asha, within: bool, seed: int, count: int) -> None:
        self.trials = trials
        self.order = random.Random(seed).sample(range(len(trials.rows)), count)
        self.within = within
        self.stopped: set[int] = set()
        self._flops = {id(c): row.flops for c, row in zip(trials.configs, trials.rows, strict=True)}
        epochs = max(config.epochs for config in trials.configs)
        strategies = {config.strategy for config in trials.configs} if within else {""}
        self._rungs = {each: Rungs(rule, epochs, lambda config: self._flops[id(config)]) for each in strategies}

    def suggest(self, key: str) -> Point:
        """The next of the order."""
        return self.trials.rows[self.order[int(key)]].point

    def report(self, key: str, scores: tuple[float, ...], *, done: bool) -> bool:
        """Judge by the rungs of all, or of the strategy."""
        index = self.order[int(key)]
        config = self.trials.configs[index]
        reports = [
            EpochReport(epoch=epoch, metrics={"val/macro_f1": score}, seconds=0, checkpoint="best")
            for epoch, score in enumerate(scores, start=1)
        ]
        rungs = self._rungs[config.strategy if self.within else ""]
        trial = TrialResult.model_construct(trial_id=key, config=config, parameters={}, reports=tuple(reports))
        goes_on = rungs.continues(trial)
        if not goes_on and not done:
            self.stopped.add(index)
        return goes_on


@dataclass(frozen=True)
class Outcome:
    """Effect of a rule on the sweeps of all seeds."""

    stopped: Counter[str]
    """By strategy: those of the best tenth that were stopped."""

    met: Counter[str]
    """By strategy: those of the best tenth that a sweep had."""

    cost: float
    """Share of the FLOPs of training everything to its end."""

    regrets: np.ndarray[Any, Any]
    """By seed and budget: the best score of all trials minus the best that was seen by then, stopped or not."""

    def row(self, rule: Asha, within: bool, strategies: Sequence[str]) -> str:
        """Return it as a row of Markdown."""
        shares = [f"{self.stopped[each] / self.met[each]:.0%}" if self.met[each] else "-" for each in strategies]
        total = f"{self.stopped.total() / self.met.total():.0%}"
        regret = [f"{mean:.4f} ± {1.96 * error:.4f}" for mean, error in zip(*self._mean_and_error(), strict=True)]
        name = f"grace {rule.grace}, reduction {rule.reduction}"
        cells = [name, "strategy" if within else "all", *shares, total, f"{self.cost:.2f}", *regret]
        return f"| {' | '.join(cells)} |\n"

    def _mean_and_error(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return self.regrets.mean(axis=0), self.regrets.std(axis=0, ddof=1) / len(self.regrets) ** 0.5


def judged(trials: Trials, rule: Asha, within: bool) -> Outcome:
    """Replay two sweeps per seed: one of so many trials, and one without end within the budgets."""
    table, best = Table(trials.rows), trials.best
    stopped: Counter[str] = Counter()
    met: Counter[str] = Counter()
    costs, found = [], []
    budgets = [budget * table.unit for budget in BUDGETS]
    for seed in SEEDS:
        side = Draw(trials, rule, within, seed, TRIALS)
        spent = sum(e.row.flops[e.epoch - 1] for e in replay(table, side, WORKERS, float("inf"), TRIALS))
        costs.append(spent / sum(sum(trials.rows[index].flops) for index in side.order))
        met.update(trials.configs[index].strategy for index in side.order if index in best)
        stopped.update(trials.configs[index].strategy for index in side.stopped & best)
        endless = Draw(trials, rule, within, seed, len(trials.rows))
        events = list(replay(table, endless, WORKERS, budgets[-1], len(trials.rows)))
        found.append(regrets(table, events, budgets))
    return Outcome(stopped, met, float(np.mean(costs)), np.array(found))


def section(title: str, trials: Trials) -> str:
    """Return the table of all rules on these trials."""
    best = Counter(trials.configs[index].strategy for index in trials.best)
    strategies = sorted(best)
    counted = ", ".join(f"{count} {name}" for name, count in best.most_common())
    text = f"\n## {title}\n\n{len(trials.rows)} trials; the best tenth: {counted}.\n\n"
    text += f"| rungs | compared | {' | '.join(strategies)} | best tenth | cost |"
    text += "".join(f" regret at {budget} |" for budget in BUDGETS) + "\n"
    text += "|---" * (len(strategies) + 4 + len(BUDGETS)) + "|\n"
    return text + "".join(
        judged(trials, rule, within).row(rule, within, strategies) for rule in RULES for within in (False, True)
    )


def page(rows: list[dict[str, Any]]) -> str:
    """Return the page."""
    text = f"""# Whom early stopping stops

`.venv/bin/python benchmarks/search/stopping.py` on {machine()}. {len(SEEDS)} sweeps (seeds {SEEDS[0]} to {SEEDS[-1]})
of {TRIALS} trials drawn at random, {WORKERS} at once, replayed from trials that were trained to their ends.

Under each strategy: of the trials among the best tenth, the share that the rungs stopped. Cost: the share of the FLOPs
of training everything to its end. Regret: of sweeps that draw trials until a budget is spent, the best val/macro_f1 of
all trials minus the best that the sweep has seen, with the half of its 95 % interval; the unit of a budget is the mean
trial. `compared: strategy` holds rungs of its own for each strategy.
"""
    text += section("The table by which rungs were chosen: TrashNet at 48 pixels, 9 epochs", from_table())
    text += section("Held out: the cards at 96 pixels, random points of `quickstart`, 6 epochs", from_cards(rows))
    return text


def main() -> None:
    """Train what is missing, replay, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="no trial begins after so many")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once, one core each")
    options = parser.parse_args()
    PAGE.write_text(page(measure(options.hours, options.jobs)))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
