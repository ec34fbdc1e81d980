"""Export of a model with its preprocessing in the graph: pixels of any size in, probabilities out.

For programs that have an image in memory, and neither Pillow nor the patience to resize as training did.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from search_spaces.errors import ExportRefused
from trainables.bundle.export import ExportBundle
from trainables.bundle.onnx_file import write_metadata, write_onnx
from trainables.bundle.parity import reference
from trainables.bundle.pixels_model import PixelsModel
from trainables.bundle.predict import Predictor
from trainables.bundle.variant import PIXELS_FILE
from trainables.data.decode import decode

# Largest accepted difference of a probability. One of 10,000 pixels is off by one: 2e-3; another resize gives 1e-1.
PIXELS_TOLERANCE = 0.02


@dataclass(frozen=True)
class PixelsReport:
    """Agreement of the file with `model.onnx`; JSON-ready."""

    images: int
    """Validation images compared."""

    same_label: int
    """Images with the same label."""

    max_abs_difference: float
    """Largest absolute difference of a probability."""

    tolerance: float
    """Largest accepted difference."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping of all fields."""
        return asdict(self)


def export_pixels(model: nn.Module, bundle: ExportBundle, images: Iterable[tuple[str, bytes]]) -> PixelsReport:
    """Write `model.pixels.onnx` beside `model.onnx`: `image` uint8 (height, width, 3) -> `probabilities` (classes,).

    `model` is the trained one, unwrapped; it is left as it is. `images` are names and encoded bytes of the validation
    split. Raises ExportRefused, and writes nothing, where a probability differs by more than PIXELS_TOLERANCE.
    """
    plain = Predictor.open(bundle.model)
    module = PixelsModel(reference(model), bundle.preprocessing, plain.temperature).eval()
    shapes = ({0: torch.export.Dim("height"), 1: torch.export.Dim("width")},)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=bundle.model.parent) as scratch:
        draft = Path(scratch) / PIXELS_FILE
        # Sides that are neither equal nor 1 nor that of the model: torch.export takes such ones for constants.
        write_onnx(module, torch.zeros(37, 53, 3, dtype=torch.uint8), draft, "image", "probabilities", shapes)
        report = _compared(draft, plain, bundle, images)
        if report.max_abs_difference > PIXELS_TOLERANCE:
            raise ExportRefused(
                f"{bundle.model.with_name(PIXELS_FILE)}: every probability within {PIXELS_TOLERANCE:g} must be that of "
                f"{bundle.model.name}, got one that differs by {report.max_abs_difference:.3g} on {report.images} "
                "validation images; the file was not written, try another version of torch and onnxscript"
            )
        entries = {entry.key: entry.value for entry in onnx.load(bundle.model).metadata_props}
        _copy_metadata(draft, entries)
        write_metadata(draft, {"thaw.pixels": report.to_json()})
        draft.replace(bundle.model.with_name(PIXELS_FILE))
    return report


def _compared(draft: Path, plain: Predictor, bundle: ExportBundle, images: Iterable[tuple[str, bytes]]) -> PixelsReport:
    session = onnxruntime.InferenceSession(str(draft), providers=["CPUExecutionProvider"])
    count = same = 0
    largest = 0.0
    for name, data in images:
        pixels = np.asarray(decode(data, name, bundle.preprocessing.max_pixels), dtype=np.uint8)
        (found,) = session.run(["probabilities"], {"image": pixels})
        (expected,) = plain.predict_bytes([(name, data)], top=len(plain.labels))
        chances = dict(expected.top)
        values = np.array([chances[label] for label in plain.labels])
        difference = float(np.abs(values - found).max())
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
        same += int(values.argmax() == found.argmax())
        count += 1
    return PixelsReport(count, same, largest, PIXELS_TOLERANCE)


def _copy_metadata(path: Path, entries: dict[str, str]) -> None:
    loaded = onnx.load(path)
    onnx.helper.set_model_props(loaded, entries)
    onnx.save(loaded, path)
