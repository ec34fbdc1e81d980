"""Inference: the outputs of a model for the images of a split, and the file of its predictions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainables.data.arrays import Split
from trainables.data.lazy_images import Indices
from trainables.model.device_memory import forward_batch

CROP = 7 / 8

Tta = Literal["none", "flip", "flip+crops"]
View = Callable[[Tensor], Tensor]


def to_input(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Decoded uint8 images (n, s, s, 3) as the model's normalized float32 input (n, 3, s, s), on their device."""
    return normalize_(to_unit(images), mean, std)


def to_unit(images: Tensor) -> Tensor:
    """Decoded uint8 images (n, s, s, 3) as float32 in [0, 1], (n, 3, s, s), on their device."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def normalize_(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation, a channel at a time: (n, 3, s, s), in place."""
    center, scale = (torch.tensor(values, dtype=images.dtype, device=images.device) for values in (mean, std))
    pixels = images.permute(0, 2, 3, 1)
    if pixels.is_contiguous():
        # As decoded images lie. A row of pixels at a time: three channels are too few for a processor's vectors.
        width = images.shape[-1]
        pixels.flatten(2).sub_(center.repeat(width)).div_(scale.repeat(width))
        return images
    return images.sub_(center.view(3, 1, 1)).div_(scale.view(3, 1, 1))


def predict_views(
    model: nn.Module,
    split: Split,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    tta: Tta = "none",
) -> list[np.ndarray[Any, Any]]:
    """Compute outputs (n, ...) of every image of a split, in order, for each of the `VIEWS` of test-time augmentation.

    The views are fixed, the same in every run. Puts the model into eval mode.
    """
    return [predict_outputs(model, split, mean, std, device, view=view) for view in VIEWS[tta]]


def predict_outputs(
    model: nn.Module,
    split: Split,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    *,
    batch_size: int | None = None,
    rows: Indices | None = None,
    view: View | None = None,
) -> np.ndarray[Any, Any]:
    """Compute outputs (n, ...) of every image of a split, or of its `rows`, in order. Puts the model into eval mode.

    `batch_size` images at once; None: as many as suit the device. `view` changes the model's input, None: nothing.
    """
    model.eval()
    rows = np.arange(len(split)) if rows is None else rows
    batch_size = batch_size or forward_batch(split.images.shape[1], device)
    cuts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return _outputs(model, split, mean, std, device, view or _whole, cuts)


@torch.inference_mode()
def predict_features(
    model: nn.Module, features: Callable[[Indices], Tensor], rows: Indices, batch_size: int
) -> np.ndarray[Any, Any]:
    """Compute outputs (n, ...) of `rows` (n,) of features, which `features` gives. Puts the model into eval mode."""
    model.eval()
    cuts = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return torch.cat([model(features(cut)).float().cpu() for cut in cuts]).numpy()


@torch.inference_mode()
def _outputs(
    model: nn.Module,
    split: Split,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    view: View,
    cuts: Sequence[Indices],
) -> np.ndarray[Any, Any]:
    parts = []
    for number, cut in enumerate(cuts):
        split.announce(*cuts[number : number + 2])
        parts.append(model(view(to_input(split.batch(cut, device), mean, std))).float().cpu())
    split.announce()
    return torch.cat(parts).numpy()


def _whole(images: Tensor) -> Tensor:
    return images


def _mirror(images: Tensor) -> Tensor:
    return images.flip(-1)


def _corner(bottom: bool, right: bool, mirrored: bool) -> View:
    """Make a view of a corner of seven eighths of the side, brought back to the size the model sees."""

    def view(images: Tensor) -> Tensor:
        size = images.shape[-1]
        side = round(size * CROP)
        top, left = (size - side) * bottom, (size - side) * right
        crop = images[..., top : top + side, left : left + side]
        whole = interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)
        return _mirror(whole) if mirrored else whole

    return view


_CORNERS = tuple(
    _corner(bottom, right, m) for bottom in (False, True) for right in (False, True) for m in (False, True)
)

VIEWS: Mapping[Tta, tuple[View, ...]] = {
    "none": (_whole,),
    "flip": (_whole, _mirror),
    "flip+crops": (_whole, _mirror, *_CORNERS),
}
"""The image and its mirror image; then also four corners, each both ways."""


def write_predictions(path: Path, columns: Mapping[str, Any]) -> None:
    """Write the columns of a task's predictions as one Parquet file, which is replaced at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    pq.write_table(pa.table({name: _writable(values) for name, values in columns.items()}), fresh)
    fresh.replace(path)


def _writable(values: Any) -> Any:
    """Return a column whose texts are in UTF-8: other bytes of a file name are escaped."""
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        return values
    return [text.encode("utf-8", "backslashreplace").decode() for text in values]
