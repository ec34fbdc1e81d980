"""Parity: whether the exported file computes what the trained model computes, measured from the photos' bytes on.

Both sides start from the encoded photo: PyTorch through the preprocessing the model was trained with, ONNX through the
one read back from the file. So a wrong graph, altered weights and a wrong resize mode or normalization all show. Users
report exports that lost their accuracy (pytorch issues 169178, 166797).
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.predict import Predictor
from trainables.data.preprocess import Preprocessing

# Largest accepted difference of a logit, as a share of the largest absolute logit over all images. float32 rounding
# gives 1e-7 to 1e-5, a wrong export 1e-2 and more.
PARITY_TOLERANCE = 1e-3

# Classes whose logits lie closer than this share of the scale are a tie, and rounding may decide between them.
TIE = 1e-4

# A graph that bakes the batch of the export in answers wrongly for others: the first batch is also run in such pieces.
SMALL_BATCHES = (1, 3)

NAMED = 3


@dataclass(frozen=True)
class Parity:
    """The measured agreement of an exported file with the trained model; JSON-ready."""

    images: int
    """Photos compared."""

    same_label: int
    """Photos with the same predicted label, in every batch size."""

    ties: int
    """Photos with another label where the two classes are a tie in PyTorch (within 1e-4 of `scale`)."""

    max_abs_difference: float
    """Largest absolute difference of a logit, over all photos, classes and batch sizes."""

    max_rel_difference: float
    """`max_abs_difference` as a share of `scale`."""

    scale: float
    """Largest absolute logit of the trained model."""

    tolerance: float
    """Largest accepted `max_rel_difference`."""

    batch_sizes: tuple[int, ...]
    """Batch sizes tried."""

    differing: tuple[str, ...] = ()
    """The first few photos whose label or logits differ by more than is accepted."""

    @property
    def holds(self) -> bool:
        """True where the file may replace the model; a logit that is not finite never passes."""
        return self.same_label + self.ties == self.images and self.max_rel_difference <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping of all fields."""
        return asdict(self)


def measure_parity(
    model: nn.Module,
    predictor: Predictor,
    preprocessing: Preprocessing,
    images: Iterable[tuple[str, bytes]],
    batch_size: int = 32,
    collect: Callable[[NDArray[np.float32]], object] = len,
) -> Parity:
    """Compare `predictor` with `model` in eval mode, on the CPU in float32, on `(name, encoded bytes)` of `images`.

    `collect` gets the logits (n, classes) of the trained model, batch by batch. `model` is left as it is. Raises
    InvalidInput without images, or naming one that cannot be decoded.
    """
    trained = reference(model)
    names: list[str] = []
    rows: list[Comparison] = []
    for items in _batches(images, batch_size):
        with torch.inference_mode():
            pixels = np.stack([preprocessing(data, name) for name, data in items])
            expected = trained(torch.from_numpy(pixels)).numpy()
        collect(expected)
        batch = predictor.preprocess(items)
        answers = [predictor.logits(batch)]
        if not names:
            answers += [_in_pieces(predictor, batch, size) for size in SMALL_BATCHES]
        rows.append(compare(expected, answers))
        names += [name for name, _ in items]
    if not names:
        raise InvalidInput("parity is measured on the images of the validation split, got none; give at least one")
    tried = {min(size, len(names)) for size in (*SMALL_BATCHES, batch_size)}
    return _summary(names, rows, tuple(sorted(tried)))


def reference(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode on the CPU in float32, contiguous: what an export is made of and measured against.

    `model` must be unwrapped (neither DDP nor mixed precision around it); it is left as it is.
    """
    moved = copy.deepcopy(model).to("cpu", torch.float32)
    return moved.to(memory_format=torch.contiguous_format).eval()


@dataclass(frozen=True)
class Comparison:
    """Comparison of one batch, one row per image."""

    difference: NDArray[np.float64]
    """Largest absolute difference of a logit (n,)."""

    margin: NDArray[np.float64]
    """By how much the trained model prefers its own label to the answered one (n,), in logits; 0 for the same label."""

    same: NDArray[np.bool_]
    """True where all answers give the trained model's label (n,)."""

    scale: float
    """Largest absolute logit of the trained model."""


def compare(expected: NDArray[np.float32], answers: list[NDArray[np.float32]]) -> Comparison:
    """Compare the logits (n, classes) of the trained model with one or more answers of the same shape."""
    wanted = expected.astype(np.float64)
    labels = wanted.argmax(axis=1)
    row = np.arange(len(wanted))
    given = np.stack([answer.astype(np.float64) for answer in answers])
    given_labels = given.argmax(axis=2)
    return Comparison(
        difference=np.abs(given - wanted).max(axis=(0, 2)),
        margin=(wanted[row, labels] - wanted[row, given_labels]).max(axis=0),
        same=(given_labels == labels).all(axis=0),
        scale=float(np.abs(wanted).max()),
    )


def _summary(names: list[str], rows: list[Comparison], batch_sizes: tuple[int, ...]) -> Parity:
    difference = np.concatenate([row.difference for row in rows])
    margin = np.concatenate([row.margin for row in rows])
    same = np.concatenate([row.same for row in rows])
    scale = float(np.max([row.scale for row in rows]))
    tied = ~same & (margin <= TIE * scale)
    accepted = (same | tied) & (difference <= PARITY_TOLERANCE * scale)
    largest = float(difference.max())
    return Parity(
        images=len(names),
        same_label=int(same.sum()),
        ties=int(tied.sum()),
        max_abs_difference=largest,
        # A model that answers exactly 0 everywhere has no scale: there only 0 is the same.
        max_rel_difference=largest / scale if scale else (0.0 if largest == 0 else float("inf")),
        scale=scale,
        tolerance=PARITY_TOLERANCE,
        batch_sizes=batch_sizes,
        differing=tuple(names[i] for i in np.flatnonzero(~accepted)[:NAMED]),
    )


def _in_pieces(predictor: Predictor, batch: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.concatenate([predictor.logits(batch[start : start + size]) for start in range(0, len(batch), size)])


def _batches(items: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
