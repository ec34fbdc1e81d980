"""Speed of training steps on a CPU when freed memory is kept, as in Thaw's workers, over glibc's defaults.

Random pixels, the channels innermost, `full`. Each side is a process of its own, in turn; the clock's time of a step,
the lowest of four, and the largest memory of the process.
"""

import argparse
import json
import sys
import time

import torch
from setting import child, peak_memory, ratios, repeats, spread
from torch.nn.functional import cross_entropy

from trainables.model.build import bare_model
from trainables.processor import use_processor

CASES = (
    *(("mobilenetv2_100", 96, 32, 1), ("mobilenetv2_100", 224, 32, 2), ("tf_efficientnet_lite0", 96, 32, 1)),
    *(("resnet18", 96, 32, 1), ("resnet50", 224, 16, 2), ("vgg11_bn", 96, 32, 2)),
)


def measure(count: int) -> str:
    """The section of the results."""
    rows = []
    for case in CASES:
        default, kept = [], []
        for _ in range(count):
            default.append(child("freed_memory.py", "--side", "default", *case))
            kept.append(child("freed_memory.py", "--side", "kept", *case))
        before, after = ([each["ms"] for each in side] for side in (default, kept))
        memory = [each["mib"] / other["mib"] for each, other in zip(kept, default, strict=True)]
        name, size, batch, threads = case
        rows.append(
            f"| {name} | {size} | {batch} | {threads} | {spread(before, digits=0)} | {spread(after, digits=0)} "
            f"| {spread(ratios(before, after), digits=2)} | {spread(memory, digits=2)} |"
        )
    table = "\n".join(rows)
    return f"""## Freed memory kept on CPUs

Milliseconds of a training step.

| model | px | batch | threads | glibc's defaults | kept | times as fast | times the memory |
|---|---|---|---|---|---|---|---|
{table}
"""


def measured(side: str, name: str, size: int, batch: int, threads: int) -> dict[str, float]:
    """Return the milliseconds of a step and the largest memory of this process in MiB."""
    if side == "kept":
        use_processor(threads)
    torch.set_num_threads(threads)
    model = bare_model(name, 6).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels, seconds = torch.arange(batch) % 6, []
    for _ in range(6):
        began = time.perf_counter()
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return {"ms": 1000 * min(seconds[2:]), "mib": peak_memory()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("default", "kept"))
    parser.add_argument("case", nargs="*")
    own, rest = parser.parse_known_args()
    if own.side is not None:
        model_name, *numbers = own.case
        print(json.dumps(measured(own.side, model_name, *map(int, numbers))))
    else:
        sys.argv = [sys.argv[0], *rest]
        print(measure(repeats()))
