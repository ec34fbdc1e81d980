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

    WEB = "web"
    """One page that classifies photos in a browser; of the model with its preprocessing, and judged as that is."""

    @property
    def file(self) -> str:
        """Name of its file."""
        return {Variant.ORT: "model.ort", Variant.WEB: "model.web.html"}.get(self, f"model.{self}.onnx")


PIXELS_FILE = "model.pixels.onnx"
"""Name of the model with its preprocessing."""

BENCHMARK_FILE = "benchmark.json"
"""File with the measurements of `thaw benchmark`."""

CARD_FILE, RECORD_FILE = "model_card.md", "export.json"
"""Names of the model card and of the record of the export."""

DERIVED_FILES = (*(variant.file for variant in Variant), PIXELS_FILE, BENCHMARK_FILE, CARD_FILE, RECORD_FILE)
"""Files that are made of `model.onnx`; a new export deletes them."""
