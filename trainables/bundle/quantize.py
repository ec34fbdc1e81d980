"""INT8 with onnxruntime: static, weights per channel, activations by their range over photos.

Which settings hold depends on the architecture and on the CPU (onnxruntime issues 5849, 6004 and 11415): several are
made. Dynamic quantization is not among them; for convolutions it is slower than float32 and wrong.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static


@dataclass(frozen=True)
class Int8Settings:
    """Settings of one attempt."""

    reduce_range: bool
    """Weights of 7 bits, whose products fit the 16-bit sums of CPUs without VNNI."""

    in_float: tuple[str, ...]
    """Layers left in float32: `first` is the first convolution, `last` the classifier."""

    def __str__(self) -> str:
        """Name the settings."""
        bits = "7-bit weights" if self.reduce_range else "8-bit weights"
        return f"{bits}, {' and '.join(self.in_float)} layer in float" if self.in_float else bits


INT8_ATTEMPTS = tuple(
    Int8Settings(reduce_range, in_float)
    for in_float in ((), ("first",), ("first", "last"))
    for reduce_range in (False, True)
)


def quantize(model: Path, images: NDArray[np.float32], settings: Int8Settings, out: Path) -> None:
    """Write an INT8 copy of a model; `images` (n, 3, s, s) are preprocessed photos that show the ranges."""
    with _quiet():
        quantize_static(
            str(model),
            str(out),
            _Photos(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=settings.reduce_range,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_nodes(model, settings.in_float),
        )


def _nodes(model: Path, layers: Sequence[str]) -> list[str]:
    nodes = onnx.load(model, load_external_data=False).graph.node
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    classifiers = [node.name for node in nodes if node.op_type in ("Gemm", "MatMul")]
    named = {"first": convolutions[:1], "last": (classifiers or convolutions)[-1:]}
    return [name for layer in layers for name in named[layer]]


class _Photos(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """_Photos: the photos, one at a time, as the library asks for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._rows = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"images": row[None]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back advice that the library prints and logs: it is about models that are made in another way."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
