"""Does fine-tuning beat its own linear probe, and under which settings? Writes `benchmarks/fine_tuning.md`.

    .venv/bin/python benchmarks/fine_tuning.py [--data crops few] [--hours 2] [--jobs 2]

Every arm is one strategy with one choice of `norm_stats`, `head_init` and `decay_to`. Its learning rate is the best of
four on the validation split of each data set, by a seed and an architecture of their own; what is reported is macro-F1
on the test splits, with other seeds. The results so far stand in `benchmarks/fine_tuning.json`: the next call
goes on where this one ended, and the page says how many there are.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import WEIGHTS, card_crops, few_photos, machine, trashnet

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.data.node_cache import NodeCache
from trainables.interval import Difference
from trainables.loop.checkpoint import load_trained
from trainables.loop.learner import Learner
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.bootstrap import paired_bootstrap
from trainables.task.inference import predict_outputs

SETS = {"crops": card_crops, "few": few_photos, "trashnet6": trashnet}
ARCHITECTURES = ("tf_efficientnet_lite0", "tf_mobilenetv3_small_100", "mobilenetv2_100")
STRATEGIES: dict[str, dict[str, Any]] = {
    "full": {"strategy": "full"},
    "partial": {"strategy": "partial", "trainable_stages": 3},
    "progressive": {"strategy": "progressive", "unfreeze_epoch": 2},
}
DECAYS = {"zero": 0.01, "start": 0.5}
SEEDS = (0, 1, 2, 3, 4)
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
TUNED_ON, TUNING_SEED = ARCHITECTURES[0], 100
COMMON = {"weights": "pretrained", "epochs": 5, "batch_size": 32, "optimizer": "adamw", "scheduler": "cosine"}
SIZE = 96
RESULTS, PAGE = Path(__file__).with_suffix(".json"), Path(__file__).with_suffix(".md")


@dataclass(frozen=True)
class Arm:
    """One way of fine-tuning."""

    strategy: str
    norms: str
    head: str
    decay: str = "zero"

    def settings(self) -> dict[str, Any]:
        """Its part of a configuration, without a learning rate."""
        chosen = {"norm_stats": self.norms, "head_init": self.head, "decay_to": self.decay}
        return {**STRATEGIES[self.strategy], **chosen, "weight_decay": DECAYS[self.decay]}


ARMS = [
    Arm(*choice)
    for choice in itertools.product(STRATEGIES, ("batch", "frozen"), ("random", "probe"), ("zero", "start"))
]


@dataclass(frozen=True)
class Cell:
    """One trial of an arm; without an arm, the linear probe itself."""

    data: str
    architecture: str
    arm: Arm | None
    seed: int
    lr: float

    @property
    def key(self) -> str:
        """Its name among the results."""
        arm = "probe" if self.arm is None else "/".join(vars(self.arm).values())
        return f"{self.data}/{self.architecture}/{arm}/{self.seed}/{self.lr:g}"

    def config(self, root: Path) -> TrialConfig:
        """Its configuration, for the data set in `root`."""
        data = {"root": root, "image_size": SIZE, "resize_mode": "squash", "weights_dir": WEIGHTS}
        own = {"strategy": "head", "head_init": "probe"} if self.arm is None else self.arm.settings()
        settings = {**COMMON, "architecture": self.architecture, **own, "seed": self.seed, "lr": self.lr}
        return TrialConfig.model_validate({"data": data, **settings})


def run(cell: Cell, root: Path, work: Path) -> dict[str, Any]:
    """Train a cell to its end: macro-F1 on validation by epoch, and the labels of the test split at the best epoch."""
    torch.set_num_threads(1)
    config, cpu, begun = cell.config(root), torch.device("cpu"), time.perf_counter()
    split = load_arrays(config.data, work / "cache", ["test"]).splits["test"]
    if cell.arm is None:
        arrays = load_arrays(config.data, work / "cache")
        learner = Learner(config, arrays, NodeCache(work / "cache"))
        learner.start_head()
        value = learner.task.measure(learner.validate(), learner.task.targets(arrays.dataset, "val"))["macro_f1"]
        curve = [value]
        model, mean, std = learner.model, learner.mean, learner.std
    else:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            folders = TrialFolders(Path(folder) / "checkpoints", Path(folder) / "val.parquet", work / "cache")
            curve = [config.objective.value(report.metrics) for report in train(config, folders)]
            model, state = load_trained(folders.best)
            mean, std = state.mean, state.std
    labels = predict_outputs(model, split, mean, std, cpu).argmax(axis=1)
    return {
        "val": round(max(curve), 4),
        "curve": [round(value, 4) for value in curve],
        "test": "".join(map(str, labels)),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def best_rate(done: dict[str, Any], data: str, arm: Arm) -> float | None:
    """Return the rate of an arm for a data set, the same for both decays; None while its trials are not there."""
    found: dict[float, Any] = {cell.lr: done.get(cell.key) for cell in tuning_cells(data, arm)}
    if not all(found.values()):
        return None
    return max(found, key=lambda rate: found[rate]["val"])


def tuning_cells(data: str, arm: Arm) -> list[Cell]:
    """The trials by which the rate of an arm is chosen."""
    plain = Arm(arm.strategy, arm.norms, arm.head)
    return [Cell(data, TUNED_ON, plain, TUNING_SEED, rate) for rate in RATES]


def cells(done: dict[str, Any]) -> list[Cell]:
    """All trials in the order in which they are run: strategy by strategy the rates and one architecture, then all."""
    found = [Cell(data, architecture, None, 0, 1.0) for data in SETS for architecture in ARCHITECTURES]
    for strategy in STRATEGIES:
        plain = [arm for arm in ARMS if arm.strategy == strategy and arm.decay == "zero"]
        found += [cell for arm in plain for data in SETS for cell in tuning_cells(data, arm)]
        found += seeded(done, [TUNED_ON], plain)
    return list(dict.fromkeys([*found, *seeded(done, ARCHITECTURES, ARMS)]))


def seeded(done: dict[str, Any], architectures: Sequence[str], arms: Sequence[Arm]) -> Iterator[Cell]:
    """The trials that are reported, of the arms whose rate is known, seed after seed."""
    for seed, data, architecture, arm in itertools.product(SEEDS, SETS, architectures, arms):
        rate = best_rate(done, data, arm)
        if rate is not None:
            yield Cell(data, architecture, arm, seed, rate)


def measure(sets: Sequence[str], hours: float, jobs: int, work: Path) -> dict[str, Any]:
    """Run what is missing of these sets until the hours are over; return all results."""
    done: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    roots = {name: unpack(work) for name, unpack in SETS.items()}
    deadline = time.monotonic() + hours * 3600
    running: dict[Future[dict[str, Any]], Cell] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while True:
            missing = (cell for cell in cells(done) if cell.key not in done and cell not in running.values())
            waiting = (cell for cell in missing if cell.data in sets)
            while len(running) < jobs and time.monotonic() < deadline and (cell := next(waiting, None)) is not None:
                running[pool.submit(run, cell, roots[cell.data], work)] = cell
            if not running:
                return done
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                done[cell.key] = future.result()
                fresh = RESULTS.with_suffix(".new")
                fresh.write_text(json.dumps(done, indent=0, sort_keys=True) + "\n")
                fresh.replace(RESULTS)
                print(
                    f"{len(done):4} {cell.key}: {done[cell.key]['val']:.4f}, {done[cell.key]['seconds']:.0f} s",
                    flush=True,
                )


def test_labels(work: Path, data: str) -> np.ndarray[Any, Any]:
    """The labels of a test split."""
    config = Cell(data, TUNED_ON, None, 0, 1.0).config(SETS[data](work))
    return load_arrays(config.data, work / "cache", ["test"]).dataset.labels("test")


def one_hot(labels: str) -> np.ndarray[Any, Any]:
    """Logits (n, 10) that say these labels."""
    return np.eye(10)[[int(label) for label in labels]]


def compared(done: dict[str, Any], work: Path, data: str, arm: Arm, base: Arm | None) -> tuple[int, Difference] | None:
    """An arm against another, or against the linear probe, over the architectures and seeds that both have."""
    rate, other = best_rate(done, data, arm), None if base is None else best_rate(done, data, base)
    if rate is None or (base is not None and other is None):
        return None
    pairs = []
    for architecture, seed in itertools.product(ARCHITECTURES, SEEDS):
        ours = done.get(Cell(data, architecture, arm, seed, rate).key)
        against = Cell(data, architecture, base, 0 if base is None else seed, 1.0 if other is None else other)
        theirs = done.get(against.key)
        if ours and theirs:
            pairs.append((one_hot(ours["test"]), one_hot(theirs["test"])))
    if not pairs:
        return None
    a, b = zip(*pairs, strict=True)
    return len(pairs), paired_bootstrap(a, b, test_labels(work, data), resamples=10_000)


def page(done: dict[str, Any], work: Path) -> str:
    """The page of what there is."""
    trials = sum(1 for cell in cells(done) if cell.key in done)
    wanted = len(SETS) * len(ARCHITECTURES) * (len(ARMS) * len(SEEDS) + 1)
    wanted += len(SETS) * len(RATES) * len(ARMS) // 2
    text = f"""# Fine-tuning against its own linear probe

`.venv/bin/python benchmarks/fine_tuning.py` on {machine()}; {trials} of {wanted} trials so far,
those of {TUNED_ON} first: rows of 5 trials are of it alone, rows of more of all three architectures.

TrashNet (1,764 photos to train on, 379 to test on, 6 classes), the same with one training photo in eight (`few`), and
the boxes of the playing cards, cut out (469 and 100, 6 classes), at {SIZE} pixels; {", ".join(ARCHITECTURES)}
with ImageNet weights; {COMMON["epochs"]} epochs, batches of {COMMON["batch_size"]}, AdamW, cosine, no augmentation;
`partial` thaws 3 stages, `progressive` everything from epoch 3 on. Rates were chosen among
{", ".join(f"{rate:g}" for rate in RATES)} on validation, for each data set, with {TUNED_ON} and a seed of its own.
Figures are macro-F1 on test, means over architectures and the seeds {", ".join(map(str, SEEDS))}; differences
have 95 % intervals of the paired bootstrap over the test photos (10,000 resamples, stratified by class), pooled over
both. `decay_to: start` has weight_decay {DECAYS["start"]}, `zero` {DECAYS["zero"]}.
"""
    for data, strategy in itertools.product(SETS, STRATEGIES):
        arms = [arm for arm in ARMS if arm.strategy == strategy]
        rows = "".join(row(done, work, data, arm, arms[0]) for arm in arms)
        if rows:
            text += f"\n## {data}: `{strategy}`\n\n"
            text += (
                "| norm_stats | head_init | decay_to | lr | trials | macro-F1 | its probe | minus the probe | 95 % |"
            )
            text += " minus batch, random | 95 % |\n|" + "---|" * 11 + "\n" + rows
    return text


def row(done: dict[str, Any], work: Path, data: str, arm: Arm, base: Arm) -> str:
    """One arm in Markdown; nothing while it has no trial."""
    against = compared(done, work, data, arm, None)
    if against is None:
        return ""
    count, probe = against
    cells = [
        arm.norms,
        arm.head,
        arm.decay,
        f"{best_rate(done, data, arm):g}",
        str(count),
        f"{probe.a:.3f}",
        f"{probe.b:.3f}",
    ]
    other = compared(done, work, data, arm, base) if arm != base else None
    for difference in (probe, None if other is None else other[1]):
        if difference is None:
            cells += ["", ""]
        else:
            low, high = difference.interval
            cells += [f"{difference.value:+.3f}", f"{low:+.3f} to {high:+.3f}"]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Measure for as long as there is, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--hours", type=float, default=12.0, help="no trial begins after so many")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once, one core each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        done = measure(options.data, options.hours, options.jobs, work)
        PAGE.write_text(page(done, work))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
