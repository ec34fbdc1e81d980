"""Teacher: an exported model from whose outputs on the training images a trial learns, computed once per node.

Distillation: Hinton et al., arXiv 1503.02531. The teacher sees each image once, as `thaw predict` would, without
augmentation.
"""

from collections.abc import Iterator, Sequence
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from trainables.config import TrialConfig
from trainables.data.arrays import Arrays
from trainables.data.fingerprint import Fingerprints
from trainables.data.node_cache import Array, NodeCache
from trainables.data_config import TrainedOn

if TYPE_CHECKING:  # a trial without a teacher does not wait for onnxruntime
    from trainables.bundle.predict import Predictor

_BATCH = 32
_IN_RUN = Path("export", "model.onnx")


def teacher_file(config: TrialConfig) -> Path | None:
    """Return the teacher's ONNX file; None without a teacher. Raises InvalidInput for a folder that has none."""
    if config.teacher == "none":
        return None
    path = Path(config.teacher)
    if not path.is_dir():
        return path
    if not (path / _IN_RUN).is_file():
        raise InvalidInput(
            f"teacher: must be a run with an exported winner, or a model.onnx, got {path} without {_IN_RUN}; export "
            f"it: `{thaw_command('export', path)}`"
        )
    return path / _IN_RUN


def open_teacher(file: Path, classes: Sequence[str], threads: int = 1) -> "Predictor":
    """Load the teacher. Raises InvalidInput for a file that is no exported model, and for one of other classes."""
    from trainables.bundle.predict import Predictor

    try:
        found = Predictor.open(file, threads=threads)
    except InvalidInput as error:
        raise InvalidInput(f"teacher: {error}") from error
    if set(found.labels) != set(classes):
        lacking, foreign = sorted({*classes} - {*found.labels}), sorted({*found.labels} - {*classes})
        got = [f"none of {', '.join(lacking[:3])}"] * bool(lacking) + [f"also {', '.join(foreign[:3])}"] * bool(foreign)
        raise InvalidInput(
            f"teacher: {file} must have the classes of the data set, got {' and '.join(got)}; take a model of these "
            "classes, or leave it out"
        )
    return found


def foreign_teacher_remark(file: Path, teacher: "Predictor", fingerprints: Fingerprints) -> str | None:
    """Return a sentence where the teacher may have learned from images of val, with which its students are measured."""
    scores = "the scores of its students may be too high"
    if teacher.config.get("data", {}).get("train_on") == TrainedOn.TRAIN_AND_VAL:
        return f"teacher: {file} was trained on train and val: {scores}"
    if not fingerprints.is_trained(teacher.fingerprint):
        return f"teacher: {file} was trained on other images, and those of val may be among them: {scores}"
    return None


def teacher_outputs(config: TrialConfig, arrays: Arrays, cache: NodeCache) -> Array | None:
    """Return the teacher's logits (n, classes), float32, of the training split; None without a teacher.

    The classes are in the order of the data set, the logits divided by the temperature of the teacher's calibration.
    Raises InvalidInput as `open_teacher` does, and StorageFailed where the cache cannot be written.
    """
    file = teacher_file(config)
    if file is None:
        return None
    import torch  # the driver asks for the file alone

    dataset = arrays.dataset
    predictor = open_teacher(file, dataset.classes, torch.get_num_threads())
    order = [predictor.labels.index(name) for name in dataset.classes]
    samples = dataset.splits["train"]

    def rows() -> Iterator[Array]:
        remaining = iter(samples)
        while batch := list(islice(remaining, _BATCH)):
            pixels = predictor.preprocess((sample.path, dataset.read(sample)) for sample in batch)
            yield (predictor.logits(pixels)[:, order] / predictor.temperature).astype(np.float32)

    with file.open("rb") as opened:
        key = sha256(file_digest(opened, "sha256").digest())
    # The fingerprint stands for the bytes, the paths for the order; a split may be divided in several ways.
    key.update("\0".join([arrays.fingerprints.stored, *(sample.path for sample in samples)]).encode())
    found = cache.array("teachers", key.hexdigest(), (len(samples), len(order)), "<f4", rows)
    return np.concatenate([*rows()]) if found is None else found
