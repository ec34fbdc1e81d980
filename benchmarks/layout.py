"""Speed of models on CPUs with the channels innermost, over the usual layout: `channels_last` of a sweep without GPUs.

Batches of random pixels, one thread, the two layouts in turn; the processor's time, the lowest of four each. Forward is
what the computation of frozen features takes, a step is that of `full`.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from setting import repeats, spread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.model.build import bare_model
from trainables.processor import use_processor

MODELS = (
    *("mobilenetv2_100", "tf_mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0"),
    *("tf_efficientnet_lite0", "resnet18", "resnet50", "vgg11_bn", "convnext_pico"),
)
BATCHES = {96: 16, 224: 8}


def measure(count: int) -> str:
    """The section of the results."""
    use_processor(1)
    rows = []
    for name in MODELS:
        for size, batch in BATCHES.items():
            found = [compared(name, size, batch) for _ in range(count)]
            forward, step, difference = zip(*found, strict=True)
            rows.append(
                f"| {name} | {size} | {spread(forward, digits=2)} | {spread(step, digits=2)} | {max(difference):.0e} |"
            )
        print(rows[-1], flush=True)
    table = "\n".join(rows)
    return f"""## Channels innermost on CPUs

Time in the usual layout over that with `channels_last`: above 1 it is faster. The difference is that of the outputs, as
a share of the largest.

| model | px | forward | step | difference |
|---|---|---|---|---|
{table}
| target | | 1 | 1 | 1e-05 |
"""


def compared(name: str, size: int, batch: int) -> tuple[float, float, float]:
    """Ratio of a forward pass, ratio of a step, and the largest difference of outputs."""
    images, labels = torch.randn(batch, 3, size, size), torch.arange(batch) % 6
    forwards: dict[bool, list[float]] = {False: [], True: []}
    steps: dict[bool, list[float]] = {False: [], True: []}
    outputs: dict[bool, Tensor] = {}
    models = {innermost: bare_model(name, 6) for innermost in forwards}
    models[True] = models[True].to(memory_format=torch.channels_last)
    inputs = {False: images, True: images.contiguous(memory_format=torch.channels_last)}
    for repeat in range(4):
        for innermost in (False, True) if repeat % 2 else (True, False):
            model, given = models[innermost], inputs[innermost]
            forwards[innermost].append(seconds(lambda model=model, given=given: forward(model, given)))
            steps[innermost].append(seconds(lambda model=model, given=given: step(model, given, labels)))
            outputs.setdefault(innermost, forward(bare_model(name, 6).to(memory_format=layout(innermost)), given))
    difference = (outputs[True] - outputs[False]).abs().max() / outputs[False].abs().max()
    first, second = (min(found[False]) / min(found[True]) for found in (forwards, steps))
    return first, second, float(difference)


def layout(innermost: bool) -> torch.memory_format:
    """The memory format of a side."""
    return torch.channels_last if innermost else torch.contiguous_format


@torch.inference_mode()
def forward(model: nn.Module, images: Tensor) -> Tensor:
    """The outputs in eval mode."""
    found: Tensor = model.eval()(images)
    return found


def step(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Forward and backward in train mode."""
    model.zero_grad()
    cross_entropy(model.train()(images), labels).backward()


def seconds(run: Callable[[], Any]) -> float:
    """Seconds of the processor."""
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    print(measure(repeats()))
