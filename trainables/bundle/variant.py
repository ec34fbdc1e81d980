"""Variant: a smaller or faster form of an exported model. Standard library alone: command lines name them."""

from enum import StrEnum


class Variant(StrEnum):
    """Variant of an exported model."""

    FP16 = "fp16"
    """Weights stored in half precision."""

    INT8 = "int8"
    """Weights and activations of 8 bits."""

    ORT = "ort"
    """onnxruntime's own format, for its smaller builds on phones."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return "model.ort" if self is Variant.ORT else f"model.{self}.onnx"


PIXELS_FILE = "model.pixels.onnx"
"""Name of the model with its preprocessing."""

DERIVED_FILES = (*(variant.file for variant in Variant), PIXELS_FILE)
"""Files that are made of `model.onnx`, on request."""
