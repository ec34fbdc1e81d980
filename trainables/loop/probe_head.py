"""Head that starts at the linear probe, so that fine-tuning begins where a frozen backbone ends.

Linear probing, then fine-tuning: Kumar et al., arXiv 2202.10054. The gradients that a random
head sends through the backbone depend on the head more than on the images.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.errors import InvalidInput, StorageFailed
from trainables.config import TrialConfig
from trainables.data.node_cache import Array, NodeCache
from trainables.data.readers import Dataset
from trainables.loop.batches import TrialBatches
from trainables.loop.feature_training import CannotCache, head_features
from trainables.task.task import load_task

_TRIED_ON = 8
_TOLERANCE = 1e-3


def check_linear_head(
    model: Any, architecture: str, needed_by: str = "head_init: probe", instead: str = "set head_init: random"
) -> tuple[Tensor, Tensor]:
    """Return the classifier's weight, one row per output, and bias; raises InvalidInput where it is no linear layer.

    The message names the setting that it is `needed_by`, and what to do `instead`.
    """
    classifier = model.get_classifier()
    if not isinstance(classifier, nn.Linear | nn.Conv2d) or classifier.bias is None:
        kind = "several" if isinstance(classifier, tuple) else type(classifier).__name__
        raise InvalidInput(
            f"{needed_by} needs a classifier that is one linear layer with a bias, got {kind} in {architecture}; "
            f"{instead}, or choose another architecture"
        )
    return classifier.weight, classifier.bias


def start_at_probe(
    config: TrialConfig, model: nn.Module, dataset: Dataset, images: TrialBatches, cache: NodeCache, acc: Accelerator
) -> None:
    """Set the classifier of `model`, the only part of it that needs gradients, to the linear probe of its features.

    The features are those of the training images as evaluation has them; they and the probe are computed once per node.
    All workers start with the head of the first. Raises InvalidInput where the logits are no linear function of the
    features, OutOfMemory where not even one image fits.
    """
    weight, bias = check_linear_head(model, config.architecture)
    try:
        cut, rows = head_features(config, model, images, cache, acc.autocast)
    except CannotCache as error:
        raise InvalidInput(f"head_init: probe needs frozen features: {error}; set head_init: random") from error
    # Each row is what the classifier gets: it is all that lies behind the cut, apart from dropout.
    if cut.width != weight[0].numel() or not _is_linear(cut.suffix(model), weight, bias, rows[:_TRIED_ON], acc):
        raise InvalidInput(
            "head_init: probe needs logits that are a linear function of the classifier's input, got others of "
            f"{config.architecture}; set head_init: random, or choose another architecture"
        )
    head = torch.from_numpy(fit_probe(config, dataset, rows, cache)).to(images.device)
    head = broadcast(head)  # another node's processor may round otherwise
    with torch.no_grad():
        weight.copy_(head[:, :-1].reshape(weight.shape))
        bias.copy_(head[:, -1])


def _is_linear(suffix: nn.Module, weight: Tensor, bias: Tensor, rows: Array, acc: Accelerator) -> bool:
    inputs = torch.from_numpy(np.array(rows, np.float32)).to(weight.device)
    with torch.no_grad(), acc.autocast():
        logits, expected = suffix.eval()(inputs), functional.linear(inputs, weight.flatten(1), bias)
    if logits.shape != expected.shape:
        return False
    tolerance = max(_TOLERANCE, 4 * torch.finfo(logits.dtype).eps)
    return torch.allclose(logits.float(), expected.float(), tolerance, tolerance * float(expected.abs().max()))


def fit_probe(config: TrialConfig, dataset: Dataset, rows: Array, cache: NodeCache) -> Array:
    """Return the linear probe (outputs, width + 1), the bias last, of the features (n, width) of the training images.

    It is fitted once per node.
    """
    probe = load_task(config.task).probe(config, dataset)
    key = sha256(json.dumps(probe.identity, sort_keys=True).encode())
    key.update(np.ascontiguousarray(rows).data)

    def fit() -> Iterator[Array]:
        with threadpool_limits(torch.get_num_threads()):  # other trials have the other cores
            yield probe.fit(np.asarray(rows, np.float32))

    with suppress(StorageFailed):  # a full disk costs time, not the trial
        found = cache.array("heads", key.hexdigest(), (probe.outputs, rows.shape[1] + 1), "<f4", fit)
        if found is not None:
            return np.array(found)
    return next(fit())
