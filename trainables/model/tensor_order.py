"""Weights by order: tensors of a file paired with those of a model by place and shape, whatever their names are."""

from collections.abc import Mapping
from itertools import zip_longest

from torch import Tensor, nn

from search_spaces.errors import InvalidInput
from trainables.model.stages import classifier_parameters


def by_order(tensors: Mapping[str, Tensor], model: nn.Module, architecture: str, source: str) -> dict[str, Tensor]:
    """Return the tensors of a file, which has them in the order of its layers, under the names of `model`.

    A linear layer may stand for a convolution of one pixel. What follows the last layer of the backbone is the head,
    which is left out where it has another size. Counters of batches are those of `model`. Raises InvalidInput, naming
    `source` and the first two tensors that differ.
    """
    own, head = model.state_dict(), classifier_parameters(model)
    theirs = [name for name, tensor in tensors.items() if not _is_counter(tensor)]
    ours = [name for name, tensor in own.items() if not _is_counter(tensor) and name not in head]
    difference = _difference(tensors, own, list(zip_longest(theirs[: len(ours)], ours)))
    if difference is not None:
        raise InvalidInput(
            f"weights must have the tensors of {architecture} in its order where weights_layout is by_order, got "
            f"{source}: {difference}; give the file of this architecture, or set architecture to the one it was made "
            "for"
        )
    pairs = dict(zip(ours, theirs, strict=False))
    rest, last = theirs[len(ours) :], [name for name in own if name in head]
    if [tensors[name].shape for name in rest] == [own[name].shape for name in last]:
        pairs |= dict(zip(last, rest, strict=True))
    found = {name: tensors[pairs[name]].reshape(own[name].shape) for name in pairs}
    return {name: tensor for name, tensor in own.items() if _is_counter(tensor)} | found


def fits_by_order(tensors: Mapping[str, Tensor], model: nn.Module) -> bool:
    """Return whether `by_order` can pair the tensors of a file with those of `model`."""
    try:
        by_order(tensors, model, "", "")
    except InvalidInput:
        return False
    return True


def _is_counter(tensor: Tensor) -> bool:
    """Return whether a tensor counts the batches of BatchNorm, which files of old versions of torch lack."""
    return tensor.ndim == 0 and not tensor.is_floating_point()


def _difference(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], pairs: list[tuple[str | None, str | None]]
) -> str | None:
    """Return the first pair that cannot be one, in words; None without one."""
    for number, (their, our) in enumerate(pairs, start=1):
        if our is None:
            continue
        wanted = tuple(own[our].shape)
        if their is None:
            return f"it ends before tensor {number}, {our} of shape {wanted}"
        shape = tuple(tensors[their].shape)
        if _without_ones(shape) != _without_ones(wanted):
            return f"tensor {number}, {their}, has the shape {shape} in place of that of {our}, {wanted}"
    return None


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the ones at its end: a linear layer and a convolution of one pixel have the same."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
