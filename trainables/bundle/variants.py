"""Variants of an exported model: smaller or faster forms, each kept only when the images show that it loses little.

A variant is compared with the trained model in PyTorch, from the photos' bytes on, over the whole validation split,
once. Settings of INT8 are chosen before, on training photos that its ranges have not seen.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from search_spaces.errors import InvalidInput
from trainables.bundle.cpu import cpu_features
from trainables.bundle.export import ExportBundle
from trainables.bundle.half import store_half
from trainables.bundle.onnx_file import write_metadata
from trainables.bundle.parity import compare, reference
from trainables.bundle.predict import Predictor
from trainables.bundle.quantize import INT8_ATTEMPTS, quantize
from trainables.bundle.variant import Variant
from trainables.interval import Difference

# Training photos that show the ranges of activations, and those on which settings are chosen.
_RANGES, _CHOOSING = 200, 400
_BATCH = 32

_Outputs = NDArray[np.float32]
_Photos = Iterable[tuple[str, bytes]]


Judge = Callable[[_Outputs, _Outputs, Any], Difference]
"""Function of outputs of the trained model, other outputs, and targets: by how much the others are worse."""


@dataclass(frozen=True)
class Int8Attempt:
    """Settings that were tried on training photos."""

    settings: str
    """The settings, in words."""

    loss: float
    """By how much the outputs are worse than those of the trained model, in the metric of the task."""

    mean_abs_difference: float
    """Mean absolute difference of a logit; among equal losses the smallest wins."""

    def rank(self) -> tuple[float, float]:
        """Return the key by which the best attempt is the smallest."""
        return self.loss, self.mean_abs_difference


@dataclass(frozen=True)
class VariantReport:
    """The verdict about one variant; JSON-ready."""

    variant: str
    """`fp16`, `int8` or `ort`."""

    kept: bool
    """True where its outputs are finite, and the upper end of the interval of its loss is below `max_drop`; else its
    file is gone."""

    loss: Difference
    """On the validation images."""

    max_drop: float
    """Largest accepted loss."""

    images: int
    """Validation images."""

    same_label: int
    """Images with the trained model's label."""

    max_abs_difference: float | None
    """Largest absolute difference of a logit; None where some are not finite."""

    size: int
    """Bytes of the file."""

    settings: str | None
    """Settings that were chosen; None where there is no choice."""

    attempts: tuple[Int8Attempt, ...]
    """All settings, in the order in which they were tried."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping of all fields."""
        return asdict(self)


@dataclass(frozen=True)
class JudgedImages:
    """Images with their targets, and what the task makes of outputs."""

    photos: _Photos
    """Name and encoded bytes of each validation image."""

    targets: Any
    """Their targets."""

    train: Sequence[tuple[str, Callable[[], bytes]]]
    """Name of each training image, and how its bytes are read."""

    train_targets: Any
    """Their targets, an array (n,)."""

    judge: Judge
    """Loss of outputs."""


def export_variants(
    model: nn.Module, bundle: ExportBundle, variants: Sequence[Variant], images: JudgedImages, max_drop: float
) -> tuple[VariantReport, ...]:
    """Make variants beside `model.onnx`, judge each, delete those that lose too much, and note all in `parity.json`.

    `model` is the trained one, unwrapped; it is left as it is. `max_drop` is the largest accepted loss of the task's
    metric, which the upper end of its 95 % interval must stay below.
    """
    trained = reference(model)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=bundle.model.parent) as scratch:
        drafts = {variant: Path(scratch) / variant.file for variant in variants}
        attempts: tuple[Int8Attempt, ...] = ()
        for variant, draft in drafts.items():
            if variant is Variant.FP16:
                store_half(bundle.model, draft)
            elif variant is Variant.ORT:
                _save_ort(bundle.model, draft)
            elif variant is Variant.INT8:
                attempts = _choose_int8(trained, bundle, images, draft)
        expected, outputs = _outputs(trained, bundle, drafts, images.photos)
        reports = tuple(
            _report(variant, drafts[variant], expected, outputs[variant], images, max_drop, attempts)
            for variant in drafts
        )
        for report, (variant, draft) in zip(reports, drafts.items(), strict=True):
            if report.kept:
                if variant is not Variant.ORT:  # whose format keeps the metadata of the model and takes no more
                    write_metadata(draft, {"thaw.variant": report.to_json()})
                draft.replace(bundle.model.with_name(variant.file))
        note = {"cpu": cpu_features(), "variants": [report.to_json() for report in reports]}
        noted = Path(scratch) / "parity.json"
        noted.write_text(json.dumps({**bundle.parity.to_json(), **note}, indent=1) + "\n", encoding="utf-8")
        noted.replace(bundle.model.with_name(noted.name))
    return reports


def _report(
    variant: Variant,
    draft: Path,
    expected: _Outputs,
    outputs: _Outputs,
    images: JudgedImages,
    max_drop: float,
    attempts: tuple[Int8Attempt, ...],
) -> VariantReport:
    tried = attempts if variant is Variant.INT8 else ()
    is_finite, finite = bool(np.isfinite(outputs).all()), np.nan_to_num(outputs)
    loss = images.judge(expected, finite, images.targets)
    compared = compare(expected, [finite])
    return VariantReport(
        variant=str(variant),
        kept=is_finite and loss.interval.high < max_drop,
        loss=loss,
        max_drop=max_drop,
        images=len(expected),
        same_label=int(compared.same.sum()),
        max_abs_difference=float(compared.difference.max()) if is_finite else None,
        size=draft.stat().st_size,
        settings=min(tried, key=Int8Attempt.rank).settings if tried else None,
        attempts=tried,
    )


def _choose_int8(
    trained: nn.Module, bundle: ExportBundle, images: JudgedImages, draft: Path
) -> tuple[Int8Attempt, ...]:
    """Write the INT8 model with the settings that lose least on training photos; return all attempts."""
    order = _by_turns(np.asarray(images.train_targets))
    ranges = min(_RANGES, len(order) // 2)
    shown, choosing = order[:ranges], order[ranges : ranges + _CHOOSING]
    pixels = np.stack([bundle.preprocessing(images.train[row][1](), images.train[row][0]) for row in shown])
    photos = [(images.train[row][0], images.train[row][1]()) for row in choosing]
    targets = np.asarray(images.train_targets)[choosing]
    drafts = {str(settings): draft.with_name(f"{number}.onnx") for number, settings in enumerate(INT8_ATTEMPTS)}
    for settings in INT8_ATTEMPTS:
        quantize(bundle.model, pixels, settings, drafts[str(settings)])
    expected, outputs = _outputs(trained, bundle, drafts, photos)
    attempts = tuple(
        Int8Attempt(name, images.judge(expected, found, targets).value, float(np.abs(found - expected).mean()))
        for name, found in ((name, np.nan_to_num(found)) for name, found in outputs.items())
    )
    drafts[min(attempts, key=Int8Attempt.rank).settings].replace(draft)
    return attempts


def _by_turns(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return positions in which the classes take turns, each in an order drawn at random."""
    drawn = np.random.default_rng(0).permutation(len(labels))
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        own = drawn[labels[drawn] == label]
        turn[own] = np.arange(len(own))
    return drawn[np.argsort(turn[drawn], kind="stable")]


def _outputs(
    trained: nn.Module, bundle: ExportBundle, drafts: Mapping[Any, Path], photos: _Photos
) -> tuple[_Outputs, dict[Any, _Outputs]]:
    """Compute the outputs (n, ...) of the trained model, and those of each draft, from the photos' bytes.

    A draft that gives something else than finite numbers for a batch has NaN there.
    """
    predictors = {name: Predictor.open(draft) for name, draft in drafts.items()}
    expected: list[_Outputs] = []
    found: dict[Any, list[_Outputs]] = {name: [] for name in drafts}
    remaining = iter(photos)
    while batch := list(islice(remaining, _BATCH)):
        # Those that the files hold are equal to the bundle's, unless a file was made wrongly.
        ways = {bundle.preprocessing, *(predictor.preprocessing for predictor in predictors.values())}
        pixels = {way: np.stack([way(data, name) for name, data in batch]) for way in ways}
        with torch.inference_mode():
            expected.append(trained(torch.from_numpy(pixels[bundle.preprocessing])).numpy())
        for name, predictor in predictors.items():
            try:
                found[name].append(predictor.logits(pixels[predictor.preprocessing]))
            except InvalidInput:  # for the user the model is a bad one, here it is one to be deleted
                found[name].append(np.full_like(expected[-1], np.nan))
    return np.concatenate(expected), {name: np.concatenate(rows) for name, rows in found.items()}


def _save_ort(model: Path, out: Path) -> None:
    """Write a model in onnxruntime's own format, for its smaller builds on phones."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Not the kernels of this CPU: the file is for others.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
