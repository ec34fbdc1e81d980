"""Cost of 64 head trials over one, and of a head by itself, at the end of its network, and in a batch of 64 heads.

The sweeps differ in nothing but the number of learning rates. Target: 64 heads take at most 6 s more than one, with
ledger, checkpoints, predictions and Ray. Then one process trains heads on the cached features of the same photos: with
the whole network (`Learner`), by itself (`HeadLearner`), and as 64 rows of one batched computation, the least that such
a computation can take: one order of the images, AdamW by hand, no loss reported, nothing validated or written.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from setting import BATCH, EPOCHS, Point, child, left_out, photo_sweep, repeats, spread, write_json

from orchestrator.spec.loading import load
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays, load_arrays
from trainables.data.balance import batches, epoch_order
from trainables.data.node_cache import NodeCache
from trainables.loop.head_learner import HeadLearner, open_learner
from trainables.loop.learner import Learner
from trainables.loop.train import train
from trainables.storage.folders import TrialFolders

HEADS = 64


def points(count: int) -> list[Point]:
    """Heads of one architecture, each with a learning rate of its own."""
    rates = [1e-4 * 10 ** (number / 21) for number in range(HEADS)][:count]
    return [{"architecture": "mobilenetv2_100", "strategy": "head", "lr": lr, "balance": "none"} for lr in rates]


def measure(count: int) -> str:
    """The section of the results."""
    one, many, more = [], [], []
    for _ in range(count):
        for trials, found in ((1, one), (HEADS, many)):
            with tempfile.TemporaryDirectory() as temporary:
                sweep = photo_sweep(Path(temporary), points(trials))
                sweep["search"]["probe"] = False  # one head alone would have none
                file = write_json(Path(temporary) / "sweep.yaml", sweep)
                found.append(child("thaw_sweep.py", file, "heads", trials))
        more.append(many[-1]["seconds"] - one[-1]["seconds"])
    with tempfile.TemporaryDirectory() as temporary:
        rows = in_one_process(Path(temporary), count)
    seconds, others = (spread([each["seconds"] for each in found]) for found in (one, many))
    return f"""## Many heads

Learning rates of a frozen MobileNetV2 on TrashNet, {EPOCHS} epochs, 96 px, batches of {BATCH}, one core per trial.

| | seconds |
|---|---|
| a sweep of 1 head | {seconds} |
| a sweep of {HEADS} heads | {others} |
| more | {spread(more)} |
| target | 6 |

{left_out([*one, *many], "all")}.

Milliseconds of one core per head, in one process on cached features:

| | steps and validation | a whole trial |
|---|---|---|
{rows}
"""


def in_one_process(folder: Path, count: int) -> str:
    """Rows of the second table."""
    torch.set_num_threads(1)
    spec = load(write_json(folder / "sweep.yaml", photo_sweep(folder, points(1))))
    config = spec.trial_config(points(1)[0])
    arrays, cache = load_arrays(config.data, folder / "cache"), NodeCache(folder / "cache")
    head = open_learner(config, arrays, cache)
    assert isinstance(head, HeadLearner)
    number = iter(range(10**6))

    def trial() -> None:
        own = folder / "trials" / str(next(number))
        opened = {"open_images": lambda *_, **__: arrays}
        for _ in train(config, TrialFolders(own / "checkpoints", own / "predictions.parquet", cache.folder), **opened):
            pass

    network = [milliseconds(lambda: epochs(Learner(config, arrays, cache))) for _ in range(count + 1)][1:]
    alone = [milliseconds(lambda: epochs(open_learner(config, arrays, cache))) for _ in range(count + 1)][1:]
    trials = [milliseconds(trial) for _ in range(count + 1)][1:]
    rows = head.features.train[0]
    batch = [milliseconds(lambda: batched(torch.from_numpy(rows.copy()), arrays, config)) / HEADS for _ in range(count)]
    return "\n".join(
        [
            f"| with the network (`Learner`) | {spread(network, digits=0)} | |",
            f"| by itself (`HeadLearner`) | {spread(alone, digits=0)} | {spread(trials, digits=0)} |",
            f"| batched, {HEADS} heads at once | {spread(batch, digits=0)} | |",
        ]
    )


def epochs(learner: Learner | HeadLearner) -> None:
    """Train and validate all epochs."""
    learner.start_head()
    for epoch in range(learner.config.epochs):
        learner.train_epoch(epoch, 0)
        learner.validate()


def batched(rows: torch.Tensor, arrays: Arrays, config: TrialConfig) -> None:
    """Train heads that differ in their learning rates, as one more axis of each tensor."""
    labels = torch.from_numpy(arrays.dataset.labels("train"))
    classes, width = len(arrays.classes), rows.shape[1]
    rates = torch.logspace(-4, -1, HEADS)[:, None, None]
    weight, bias = torch.zeros(HEADS, classes, width), torch.zeros(HEADS, classes)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for epoch in range(EPOCHS):
        for indices in batches(epoch_order(len(rows), config.seed, epoch), BATCH):
            inputs, wanted = rows[indices], labels[indices]
            logits = (inputs @ weight.view(-1, width).T).view(-1, HEADS, classes).permute(1, 0, 2) + bias[:, None]
            errors = torch.softmax(logits, 2)
            errors[:, torch.arange(len(wanted)), wanted] -= 1
            errors /= len(wanted)
            gradient = (errors.permute(0, 2, 1).reshape(-1, len(wanted)) @ inputs).view_as(weight)
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            weight.mul_(1 - rates * config.weight_decay).sub_(rates * first / second.sqrt().add_(1e-8))
            bias.sub_(rates[:, 0] * errors.sum(1))


def milliseconds(run: Callable[[], Any]) -> float:
    """Milliseconds of the processor."""
    began = time.process_time()
    run()
    return 1000 * (time.process_time() - began)


if __name__ == "__main__":
    print(measure(repeats()))
