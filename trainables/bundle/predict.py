"""Predictor: photos to labels with an exported model. Needs onnxruntime, Pillow and numpy; no torch, no onnx.

Everything that is needed beside the weights (labels, preprocessing, provenance) stands in the ONNX file's own metadata,
so that `model.onnx` can be moved and used alone.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from search_spaces.errors import InvalidInput
from search_spaces.permissions import check_readable, missing_permission
from search_spaces.user_files import IMAGE, MODEL, open_user_file, read_user_file
from trainables.data.preprocess import Preprocessing
from trainables.data.sources.image_walk import IMAGE_ENDINGS, images_below

# Answer in place of a label.
UNSURE = "unsure"

REQUIRED = ("labels", "preprocessing", "config", "fingerprint", "opset", "version")


@dataclass(frozen=True)
class Prediction:
    """Prediction for one photo."""

    path: str
    """The path or name under which the photo was given."""

    label: str
    """The most probable class; UNSURE where its probability is below the least that was asked for."""

    probability: float
    """Probability of the most probable class, 0 to 1: of the softmax, after the temperature of the calibration."""

    top: tuple[tuple[str, float], ...]
    """The most probable classes with their probabilities, best first."""

    def to_json(self) -> dict[str, Any]:
        """`{path, label, probability, top: [{label, probability}]}`."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {"path": self.path, "label": self.label, "probability": self.probability, "top": top}


@dataclass(frozen=True)
class UnreadableImage:
    """Answer for a file that is no image."""

    path: str
    """The path under which it was given."""

    error: str
    """Message that names the file, what is wrong with it, and the remedy."""

    def to_json(self) -> dict[str, Any]:
        """`{path, label: null, probability: null, top: [], error}`."""
        return {"path": self.path, "label": None, "probability": None, "top": [], "error": self.error}


@dataclass(frozen=True)
class Predictor:
    """An exported model, ready to run. `logits` may be called from several threads."""

    session: onnxruntime.InferenceSession
    """The loaded graph: `images` float32 (n, 3, s, s) -> `logits` float32 (n, classes)."""

    labels: tuple[str, ...]
    """Class names in the order of the logits."""

    preprocessing: Preprocessing
    """From bytes to the model's input."""

    config: Mapping[str, Any]
    """Configuration of the trial that trained the model."""

    fingerprint: str
    """Fingerprint of the data set it was trained on."""

    opset: int
    """ONNX operator set."""

    version: str
    """Version of thaw that wrote the file."""

    parity: Mapping[str, Any] | None
    """Agreement of the file with the trained model; None only while an export is still being measured."""

    temperature: float = 1.0
    """The logits are divided by it before the softmax; 1 without a calibration."""

    @classmethod
    def open(cls, path: str | Path, *, device: str = "CPU", threads: int = 0) -> Self:
        """Load an exported model; raises InvalidInput unless `path` is an ONNX file that thaw exported.

        `device` is one of onnxruntime's execution providers, without the ending, as CUDA; `threads` are those of one
        operator on the CPU, 0: as many as there are cores.
        """
        path = Path(path)
        session = _session(path, device, threads)
        metadata = _metadata(session, path)
        try:
            predictor = cls(
                session=session,
                labels=tuple(map(str, metadata["labels"])),
                preprocessing=Preprocessing.from_json(metadata["preprocessing"]),
                config=dict(metadata["config"]),
                fingerprint=str(metadata["fingerprint"]),
                opset=int(metadata["opset"]),
                version=str(metadata["version"]),
                parity=metadata.get("parity"),
                temperature=_temperature(metadata.get("calibration")),
            )
        except (InvalidInput, LookupError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"{path}: thaw's metadata cannot be read ({error}); {_REMEDY}") from None
        predictor._check(path)
        return predictor

    def logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute logits (n, classes) of preprocessed images (n, 3, s, s); n may be any number, 0 included."""
        if not len(batch):
            return np.empty((0, len(self.labels)), np.float32)
        try:
            (logits,) = self.session.run(["logits"], {"images": np.ascontiguousarray(batch, np.float32)})
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise InvalidInput(f"the model must run on {len(batch)} images, got: {_reason(error)}; {_REMEDY}") from None
        values = np.asarray(logits, np.float32)
        wanted = (len(batch), len(self.labels))
        if values.shape != wanted or not np.isfinite(values).all():
            got = f"shape {values.shape}" if values.shape != wanted else "values that are not finite"
            raise InvalidInput(f"the model's logits must be finite, of shape {wanted}, got {got}; {_REMEDY}")
        return values

    def preprocess(self, items: Iterable[tuple[str, bytes]]) -> NDArray[np.float32]:
        """Compute the input (n, 3, s, s) of encoded photos; raises InvalidInput naming one that cannot be decoded."""
        return np.stack([self.preprocessing(data, name) for name, data in items])

    def predict(self, image: NDArray[np.uint8], top: int = 5) -> Prediction:
        """Predict an RGB image in memory, (height, width, 3), as a frame of a camera; its `path` is empty.

        Raises InvalidInput for another array.
        """
        (found,) = self._classify([""], self.preprocessing.of_pixels(image)[None], top)
        return found

    def predict_bytes(self, items: Iterable[tuple[str, bytes]], batch_size: int = 32, top: int = 5) -> list[Prediction]:
        """Predict photos, given as `(name, encoded bytes)`; raises InvalidInput naming one that is no image."""
        return list(self._predict(items, batch_size, top))

    def predict_files(self, paths: Sequence[Path], batch_size: int = 32, top: int = 5) -> Iterator[Prediction]:
        """Make one prediction per photo; a folder stands for all images below it, sorted. Holds one batch in memory.

        Raises InvalidInput at once for a path that does not exist and a folder without images, and on the way for a
        photo that cannot be read.
        """
        files = list(image_files(paths))
        return self._predict(((str(path), _read(path)) for path in files), batch_size, top)

    def predict_each(
        self,
        paths: Sequence[Path],
        batch_size: int = 32,
        top: int = 5,
        *,
        mirror: bool = False,
        min_confidence: float = 0.0,
    ) -> Iterator[Prediction | UnreadableImage]:
        """Make one answer per photo, as `predict_files`, with an error in place of a photo that cannot be read.

        With `mirror` the probabilities are the mean of those of the photo and of its mirror image. The answer is UNSURE
        where the highest is below `min_confidence`; raises InvalidInput where that is the name of a class.
        """
        if min_confidence and UNSURE in self.labels:
            raise InvalidInput(f"min_confidence: the model must have no class {UNSURE!r}, but has one; leave it out")
        files = iter(list(image_files(paths)))
        while batch := list(islice(files, batch_size)):
            inputs: dict[str, NDArray[np.float32]] = {}
            answers: dict[str, Prediction | UnreadableImage] = {}
            for path in map(str, batch):
                try:
                    inputs[path] = self.preprocessing(_read(Path(path)), path)
                except InvalidInput as error:
                    answers[path] = UnreadableImage(path, str(error))
            if inputs:
                batched = np.stack([*inputs.values()])
                for found in self._classify([*inputs], batched, top, mirror=mirror):
                    is_sure = found.probability >= min_confidence
                    answers[found.path] = found if is_sure else replace(found, label=UNSURE)
            yield from (answers[path] for path in map(str, batch))

    def _predict(self, items: Iterable[tuple[str, bytes]], batch_size: int, top: int) -> Iterator[Prediction]:
        for name, value in (("batch_size", batch_size), ("top", top)):
            if value < 1:
                raise InvalidInput(f"`{name} >= 1`, got {name}={value}; leave it out for the default")
        return self._stream(iter(items), batch_size, top)

    def _stream(self, items: Iterator[tuple[str, bytes]], batch_size: int, top: int) -> Iterator[Prediction]:
        while batch := list(islice(items, batch_size)):
            yield from self._classify([name for name, _ in batch], self.preprocess(batch), top)

    def _classify(
        self, names: Sequence[str], inputs: NDArray[np.float32], top: int, *, mirror: bool = False
    ) -> Iterator[Prediction]:
        views = [inputs, inputs[..., ::-1]] if mirror else [inputs]
        probabilities = np.mean([softmax(self.logits(view) / self.temperature) for view in views], axis=0)
        for name, row in zip(names, probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            ranked = tuple((self.labels[i], float(row[i])) for i in best)
            yield Prediction(name, *ranked[0], top=ranked)

    def _check(self, path: Path) -> None:
        """Labels and preprocessing must fit the graph they stand beside."""
        if [value.name for value in self.session.get_inputs()] == ["image"]:
            raise InvalidInput(
                f"{path}: must be a model without its own preprocessing; name the model.onnx beside it, "
                "or run this file with onnxruntime"
            )
        size = self.preprocessing.image_size
        classes = len(self.labels)
        graph = [("input", self.session.get_inputs(), "images", [3, size, size])]
        graph += [("output", self.session.get_outputs(), "logits", [classes])]
        for kind, found, name, shape in graph:
            got = {value.name: list(value.shape[1:]) for value in found}
            if got != {name: shape}:
                raise InvalidInput(
                    f"{path}: the {kind} must be `{name}` of shape (n, {', '.join(map(str, shape))}) for {classes} "
                    f"labels at {size} px, got {got}; {_REMEDY}"
                )


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (n, classes) of logits (n, classes), computed so that no finite logit overflows."""
    values = np.asarray(logits, np.float64)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def image_files(paths: Iterable[Path]) -> Iterator[Path]:
    """List the files that `paths` stand for; a folder stands for all images below it, sorted, without hidden ones."""
    for path in paths:
        check_readable(path)
        if not path.is_dir():
            if not path.exists():
                raise InvalidInput(f"{path}: no such image; check the path")
            yield path
            continue
        found = sorted(path / name for name in images_below(path, Counter()))
        if not found:
            raise InvalidInput(f"{path}: no image in this folder; name one that holds {', '.join(IMAGE_ENDINGS)} files")
        yield from found


_REMEDY = "export it anew with `thaw export RUN`"


def _session(path: Path, device: str, threads: int) -> onnxruntime.InferenceSession:
    check_readable(path)
    if path.is_dir():
        raise InvalidInput(f"{path}: must be an ONNX file, got a folder; name the model.onnx in it")
    if not path.exists():
        raise InvalidInput(f"{path}: no such model; check the path, or export one with `thaw export RUN`")
    open_user_file(path, MODEL).close()  # refuses what is no regular file
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, none is printed
    options.intra_op_num_threads = threads
    try:
        # A fallback to the same provider only prints.
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[f"{device}ExecutionProvider"], enable_fallback=False
        )
        # Texts are decoded when they are asked for: that they are texts is known only now.
        _ = session.get_modelmeta().custom_metadata_map
        _ = [(value.name, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
        return session
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        reason = _reason(error)
        is_model = "parsing failed" not in reason.lower()
        got = f"one that onnxruntime cannot load ({reason})" if is_model else "a file that is not"
        raise InvalidInput(f"{path}: must be an ONNX model, got {got}; {_REMEDY}") from None


def _reason(error: Exception) -> str:
    """Return what onnxruntime reports, without its codes and the place in its sources."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return re.sub(r"\S*onnxruntime\S*:\d+ .*?\) ", "", text)[:200].rstrip(".")


def _metadata(session: onnxruntime.InferenceSession, path: Path) -> dict[str, Any]:
    """Return the `thaw.*` entries of the file, decoded, without their prefix."""
    entries = session.get_modelmeta().custom_metadata_map
    texts = {key.removeprefix("thaw."): text for key, text in entries.items() if key.startswith("thaw.")}
    if not texts:
        raise InvalidInput(f"{path}: an ONNX model without thaw's metadata; export it with `thaw export RUN`")
    missing = [f"thaw.{key}" for key in REQUIRED if key not in texts]
    if missing:
        raise InvalidInput(f"{path}: metadata must hold {', '.join(missing)}, but does not; {_REMEDY}")
    metadata = {}
    for key, text in texts.items():
        try:
            metadata[key] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                f"{path}: metadata thaw.{key} must be JSON, got {text[:40]!r} ({error}); {_REMEDY}"
            ) from None
    return metadata


def _temperature(calibration: Mapping[str, Any] | None) -> float:
    temperature = 1.0 if calibration is None else float(calibration["temperature"])
    if not 0 < temperature < math.inf:
        raise ValueError(f"the temperature must be above 0, got {temperature}")
    return temperature


def _read(path: Path) -> bytes:
    try:
        return read_user_file(path, IMAGE)
    except PermissionError:
        raise InvalidInput(missing_permission(path)) from None
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}); check the file") from None
