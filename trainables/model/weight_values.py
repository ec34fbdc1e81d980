"""Values of weights with which no epoch could be finished: found before anything is trained."""

from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.errors import InvalidInput, shown
from trainables.storage.place import Place


def check_values(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Place) -> None:
    """Raise InvalidInput, naming the key, for weights that are no finite real numbers.

    `own` is the state dict of the model that they are for: where it holds whole numbers, such as counters of batches,
    or is not finite itself, such as a mask, they may be so too.
    """
    for name, tensor in tensors.items():
        fault = _fault(name, tensor, own[name])
        if fault is not None:
            raise InvalidInput(
                f"weights must be finite real numbers, got {path}: {shown(name)} {fault}; "
                "give weights of a run that did not fail, as floats"
            )


def _fault(name: str, tensor: Tensor, own: Tensor) -> str | None:
    if tensor.is_complex() and not own.is_complex():
        return "is complex"
    if not own.is_floating_point():
        return None
    if not tensor.is_floating_point():
        return f"is of type {str(tensor.dtype).removeprefix('torch.')}"
    # Of the model's type: a number that is too large for it becomes infinite.
    values = tensor.to(own.dtype)
    if not values.isfinite().all() and own.isfinite().all():
        return "holds NaN" if values.isnan().any() else "holds infinite values"
    if name.endswith("running_var") and torch.any(values < 0):
        return "is a variance below zero"
    return None
