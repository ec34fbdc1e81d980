"""Export: a trained model becomes one verified ONNX file that carries its labels, preprocessing and provenance."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces.errors import ExportRefused, InvalidInput
from trainables.bundle.onnx_file import write_metadata, write_onnx
from trainables.bundle.parity import Parity, measure_parity, reference
from trainables.bundle.predict import Predictor
from trainables.bundle.timm_folder import write_timm_folder
from trainables.bundle.variant import DERIVED_FILES
from trainables.data.preprocess import Preprocessing

# A protobuf message, and so an ONNX model in one file, ends at 2 GiB.
MAX_BYTES = 2**31 - 1

# Photos on which the folder of timm, whose logits are the trained model's bit by bit, is compared with it.
_COMPARED = 8


@dataclass(frozen=True)
class ExportBundle:
    """An exported model that agrees with the trained one: `model.onnx`, its metadata for people, and timm's form."""

    model: Path
    """The ONNX file; complete without the other files of its folder."""

    labels: tuple[str, ...]
    """Class names in the order of the logits."""

    preprocessing: Preprocessing
    """From bytes to the model's input."""

    config: Mapping[str, Any]
    """Configuration of the trial that trained the model."""

    opset: int
    """ONNX operator set."""

    parity: Parity
    """The measured agreement; it holds."""

    calibration: Mapping[str, Any] | None
    """Temperature and errors of its probabilities; None where they were not asked for."""


def export_bundle(
    model: nn.Module,
    labels: Sequence[str],
    preprocessing: Preprocessing,
    config: Mapping[str, Any],
    fingerprint: str,
    images: Iterable[tuple[str, bytes]],
    folder: Path,
    calibrate: Callable[[NDArray[np.float32]], Mapping[str, Any]] | None = None,
) -> ExportBundle:
    """Export `model` into `folder`, measured on `images`: (name, encoded bytes) of the whole validation split.

    `calibrate` gets the logits (n, classes) of the images, and returns what the file says of its probabilities.
    Writes model.onnx, labels.txt, preprocessing.json, config.json, parity.json and, for a model that timm has built,
    the folder timm. Everything is made and measured under a temporary name; a refused export leaves an older one
    untouched. `model` must be unwrapped and is left as it is. Raises ExportRefused when a file does not compute what
    `model` computes, InvalidInput without images.
    """
    files = _free_files(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remaining = iter(images)
    first = list(islice(remaining, _COMPARED))
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as scratch:
        draft = Path(scratch) / "model.onnx"
        opset = export_onnx(model, preprocessing.image_size, draft)
        _check_labels(draft, labels)
        provenance = {"thaw.config": dict(config), "thaw.fingerprint": fingerprint, "thaw.version": version("thaw")}
        form = {"thaw.labels": list(labels), "thaw.preprocessing": preprocessing.to_json(), "thaw.opset": opset}
        metadata = {**form, **provenance}
        write_metadata(draft, metadata)
        outputs: list[NDArray[np.float32]] = []
        photos = chain(first, remaining)
        parity = measure_parity(model, Predictor.open(draft), preprocessing, photos, collect=outputs.append)
        if not parity.holds:
            raise ExportRefused(_refusal(parity, folder))
        calibration = None if calibrate is None else calibrate(np.concatenate(outputs))
        said = {} if calibration is None else {"thaw.calibration": calibration}
        write_metadata(draft, {"thaw.parity": parity.to_json(), **said})
        _write_texts(Path(scratch), metadata, parity)
        if hasattr(model, "pretrained_cfg"):
            inputs = torch.from_numpy(np.stack([preprocessing(data, name) for name, data in first]))
            write_timm_folder(model, labels, preprocessing, inputs, Path(scratch) / "timm")
        _replace_folder(Path(scratch) / "timm", folder / "timm")
        for name in DERIVED_FILES:  # of the model before
            (folder / name).unlink(missing_ok=True)
        # The model last: the texts describe it, and it alone is complete.
        for file in files:
            (Path(scratch) / file.name).replace(file)
    return ExportBundle(folder / "model.onnx", tuple(labels), preprocessing, dict(config), opset, parity, calibration)


def _replace_folder(new: Path, old: Path) -> None:
    """Move a new folder, if there is one, to the place of the old, which ends beside the new one's first place."""
    if old.exists():
        old.replace(new.with_name(f"old-{old.name}"))
    if new.exists():
        new.replace(old)


def _free_files(folder: Path) -> list[Path]:
    """Return the files of an export, the model last. Raises InvalidInput where something else has their place."""
    names = ("labels.txt", "preprocessing.json", "config.json", "parity.json", "model.onnx")
    files = [folder / name for name in names]
    taken = [place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()]
    taken += [file for file in files if file.is_dir()]
    taken += [place for place in [folder / "timm"] if place.exists() and not place.is_dir()]
    if taken:
        raise InvalidInput(
            f"{folder}: must be a folder for the files of an export, but {taken[0]} has the place of one; move it away"
        )
    return files


def export_onnx(model: nn.Module, image_size: int, path: Path) -> int:
    """Write `model` as one float32 ONNX file, `images` (n, 3, s, s) -> `logits` (n, classes) any n; returns the opset.

    `model` must be unwrapped and is left as it is. Raises ExportRefused for a model that PyTorch cannot export, that
    takes one batch size only, or that is above 2 GB.
    """
    trained = reference(model)
    size = sum(tensor.nbytes for tensor in (*trained.parameters(), *trained.buffers()))
    if size > MAX_BYTES:
        raise ExportRefused(f"{path}: an ONNX file must be below 2 GB, got {size / 1e9:.1f} GB; choose a smaller model")
    shapes = ({0: torch.export.Dim("batch")},)
    # Two images: torch.export takes a batch of one for a constant.
    images = torch.zeros(2, 3, image_size, image_size)
    exported = write_onnx(trained, images, path, "images", "logits", shapes)
    batch = exported.graph.input[0].type.tensor_type.shape.dim[0]
    if not batch.dim_param:
        raise ExportRefused(
            f"{path}: the batch size must be free, but the exported graph takes {batch.dim_value} images only; "
            "choose another architecture or another version of torch"
        )
    return next(int(used.version) for used in exported.opset_import if used.domain == "")


def _check_labels(path: Path, labels: Sequence[str]) -> None:
    shape = onnx.load(path).graph.output[0].type.tensor_type.shape
    classes = shape.dim[1].dim_value
    if classes != len(labels):
        raise InvalidInput(
            f"labels must be as many as the model's classes, got {len(labels)} labels, {classes} classes"
        )


def _write_texts(folder: Path, metadata: Mapping[str, Any], parity: Parity) -> None:
    """Write the metadata once more, beside the model, for people and for programs that do not read ONNX."""
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in metadata["thaw.labels"]), encoding="utf-8")
    texts = {
        "preprocessing.json": metadata["thaw.preprocessing"],
        "config.json": metadata["thaw.config"],
        "parity.json": parity.to_json(),
    }
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _refusal(parity: Parity, folder: Path) -> str:
    wrong = parity.images - parity.same_label - parity.ties
    return (
        f"{folder / 'model.onnx'}: every label, and every logit within {parity.tolerance:g} of their scale, must be "
        f"the trained model's, got {wrong} of {parity.images} labels different and logits different by up to "
        f"{parity.max_abs_difference:.3g} at a scale of {parity.scale:.3g}, first at {', '.join(parity.differing)}; "
        "nothing was written, try another version of torch and onnxscript, or another architecture"
    )
