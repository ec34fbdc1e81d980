"""ONNX files: a module of PyTorch becomes one, and metadata is added to it."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from search_spaces.errors import ExportRefused


def write_onnx(
    module: nn.Module, example: Tensor, path: Path, input_name: str, output_name: str, dynamic_shapes: Any
) -> onnx.ModelProto:
    """Write a module of one input and one output, and return the model; `dynamic_shapes` as for `torch.onnx.export`.

    Raises ExportRefused for a module that PyTorch cannot export.
    """
    try:
        with _quiet():
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=[input_name],
                output_names=[output_name],
                dynamic_shapes=dynamic_shapes,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = str(error.__cause__ or error).strip().splitlines() or [""]
        raise ExportRefused(
            f"{path}: PyTorch {torch.__version__} cannot export this model for inputs of {tuple(example.shape)} "
            f"({cause[0][:200]}); choose another architecture or another version of torch"
        ) from error
    exported = onnx.load(path)
    _forget_paths(exported)
    # Shapes that the exporter notes for weights, of before they were folded: onnxruntime's quantization stops at them.
    del exported.graph.value_info[:]
    _save(exported, path)
    return exported


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Add `metadata` to an ONNX file, each value as JSON; entries of the same name are replaced, others stay."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries |= {key: json.dumps(value, allow_nan=False) for key, value in metadata.items()}
    onnx.helper.set_model_props(model, entries)
    _save(model, path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Check the model and replace the file at once."""
    onnx.checker.check_model(model)
    draft = path.with_name(f".{path.name}.new")
    try:
        onnx.save(model, draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _forget_paths(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes at each node: paths of the exporting machine and of modules, 200 kB in all."""
    for node in model.graph.node:
        del node.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter prints and logs: standard output is a JSON document where a command asks for one."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
