"""Which methods of the fine-tuning guides help on real photos? Writes `benchmarks/methods.md`.

Freeze strategies are compared by macro-F1, answers to imbalance by the recall of the rarest class, both on the test
split, which decided nothing: the epoch is the best one of the validation split. Everything below was named before the
first run. About 40 minutes on two cores.
"""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from setting import WEIGHTS, machine, trashnet

from trainables.config import TrialConfig
from trainables.data.arrays import load_arrays
from trainables.interval import Difference
from trainables.loop.checkpoint import load_trained
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders
from trainables.task.bootstrap import paired_bootstrap
from trainables.task.inference import predict_outputs

SEEDS = (0, 1, 2, 3, 4)
RARE = "trash"
COMMON = {
    "architecture": "mobilenetv2_100",
    "weights": "pretrained",
    "epochs": 6,
    "batch_size": 32,
    "optimizer": "adamw",
    "scheduler": "cosine",
}
GENTLE = {"lr": 1e-3, "backbone_lr_factor": 0.5}
METHODS: dict[str, dict[str, Any]] = {
    "head": {"strategy": "head", "lr": 3e-3},
    "partial": {"strategy": "partial", "trainable_stages": 3, **GENTLE},
    "progressive": {"strategy": "progressive", "unfreeze_epoch": 2, **GENTLE},
    "partial, sampler": {"strategy": "partial", "trainable_stages": 3, **GENTLE, "balance": "sampler"},
    "partial, loss": {"strategy": "partial", "trainable_stages": 3, **GENTLE, "balance": "loss"},
}
RESULTS = Path(__file__).with_suffix(".md")


def test_logits(config: TrialConfig, folder: Path) -> np.ndarray[Any, Any]:
    """Train to the end; logits (n, classes) of the test split by the best epoch."""
    folders = TrialFolders(folder / "checkpoints", folder / "predictions.parquet", folder.parent / "cache")
    for _ in train(config, folders):
        pass
    model, state = load_trained(folders.best)
    split = load_arrays(config.data, folders.cache, ["test"]).splits["test"]
    return predict_outputs(model, split, state.mean, state.std, torch.device("cpu"))


def main() -> None:
    """Train every method with every seed, compare them, and write the tables."""
    logits: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in METHODS}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data = {"root": trashnet(root), "image_size": 128, "resize_mode": "squash", "weights_dir": WEIGHTS}
        for seed, (name, method) in itertools.product(SEEDS, METHODS.items()):
            config = TrialConfig.model_validate({"data": data, **COMMON, **method, "seed": seed})
            logits[name].append(test_logits(config, root / f"{name}-{seed}"))
            print(f"{time.perf_counter() - started:6.0f} s  seed {seed}  {name}", flush=True)
        arrays = load_arrays(config.data, root / "cache", ["test"])
    labels = arrays.dataset.labels("test")
    rare = labels == arrays.classes.index(RARE)

    def macro_f1(a: str, b: str) -> Difference:
        return paired_bootstrap(logits[a], logits[b], labels, resamples=10_000)

    def recall(a: str, b: str) -> Difference:
        # Recall of a class is the accuracy on its images.
        only = {name: [each[rare] for each in logits[name]] for name in (a, b)}
        return paired_bootstrap(only[a], only[b], labels[rare], "accuracy", resamples=10_000)

    RESULTS.write_text(
        f"""# Methods of the guides on real photos

`.venv/bin/python benchmarks/methods.py` on {machine()}.

TrashNet, 1,764 photos to train on, {len(labels)} to test on, {rare.sum()} of them `{RARE}`; mobilenetv2 with ImageNet
weights at 128 pixels, 6 epochs, batches of 32, AdamW, cosine, no augmentation; `head` with lr 3e-3, the others with
1e-3 and half of it for the backbone; `partial` thaws 3 stages, `progressive` everything from epoch 3 on.
Seeds {", ".join(map(str, SEEDS))}.

Each figure is the mean over the seeds; differences have 95 % intervals of the paired bootstrap over the test photos
(10,000 resamples, stratified by class), pooled over the seeds. An interval that excludes 0 tells the methods apart on
photos like these; it says nothing of other data sets.

## Freeze strategies: macro-F1

{table(["partial", "progressive"], "head", macro_f1)}

## Answers to imbalance: recall of `{RARE}`

{table(["partial, sampler", "partial, loss"], "partial", recall)}

## Answers to imbalance: macro-F1

{table(["partial, sampler", "partial, loss"], "partial", macro_f1)}
"""
    )
    print(RESULTS.read_text())


def table(names: list[str], base: str, compare: Any) -> str:
    """Each method against the base, a row each, in Markdown."""
    rows = [f"| method | value | `{base}` | difference | 95 % |", "|---|---|---|---|---|"]
    for name in names:
        found: Difference = compare(name, base)
        interval = f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"
        rows.append(f"| `{name}` | {found.a:.3f} | {found.b:.3f} | {found.value:+.3f} | {interval} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
