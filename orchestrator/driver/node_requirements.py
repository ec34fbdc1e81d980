"""Question to every node of a cluster: versions, and the files and devices that the trials of a sweep need there."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from analysis.run_folder import RunFolder
from orchestrator.cluster.node_checks import NODE_PACKAGES
from orchestrator.cluster.node_probe import NodeQuestion
from orchestrator.spec.sweep_spec import SweepSpec
from trainables.data.readers import Dataset, open_configured
from trainables.loop.teacher import teacher_file
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

CHECKED_IMAGES = 64
"""Number of images whose sizes are compared on every node: a cheap stand-in for the fingerprint."""


def make_node_question(spec: SweepSpec | None, root: Place | None, dataset: Dataset | None) -> NodeQuestion:
    """Make the question for a node's versions and cache, and for what the trials of `spec`, in the run `root`, need."""
    if spec is None:
        return NodeQuestion(NODE_PACKAGES, str(cache_folder(None)))
    data = spec.data
    places = {"data.root": data.root, "data.manifest": data.manifest, "data.weights_dir": data.weights_dir}
    weights = {config.weights for config in spec.corner_configs()} - {"none", "pretrained"}
    teachers = {str(teacher_file(config)) for config in spec.corner_configs() if config.teacher != "none"}
    return NodeQuestion(
        NODE_PACKAGES,
        str(cache_folder(spec.storage.cache_dir)),
        folders={key: str(path) for key, path in places.items() if isinstance(path, Path)}
        | {f"weights {path}": path for path in sorted(weights)}
        | {f"teacher {path}": path for path in sorted(teachers)},
        buckets={
            key: str(place) for key, place in {**places, "storage.root": root}.items() if isinstance(place, BucketPath)
        },
        run=str(root.resolve()) if isinstance(root, Path) else None,
        token=f".driver-{uuid.uuid4().hex}",
        images={} if dataset is None else _some_images(dataset),
        devices=spec.resources.gpus_per_worker > 0,
    )


@contextmanager
def ask_for_sweep(spec: SweepSpec | None) -> Iterator[tuple[NodeQuestion, Path]]:
    """Return the question before a sweep is launched, and the folder from which Ray is started.

    Raises InvalidInput for a data set that cannot be read.
    """
    if spec is None:
        with TemporaryDirectory() as folder:
            yield make_node_question(None, None, None), Path(folder)
        return
    dataset = open_configured(spec.data, cache_folder(spec.storage.cache_dir))
    question = make_node_question(spec, spec.run_root, dataset)
    yield question, RunFolder(spec.run_root, cache_folder(spec.storage.cache_dir)).local


def _some_images(dataset: Dataset) -> dict[str, int]:
    """Return evenly spread images of the data set, or the files that hold them, with their sizes in bytes."""
    if dataset.origin is not None:  # every node makes a copy of its own, of containers or from the bucket
        paths = [path.absolute() for path in dataset.origin.containers]
    else:
        root = dataset.root.absolute()
        paths = [root / sample.path for samples in dataset.splits.values() for sample in samples]
    return {str(path): path.stat().st_size for path in paths[:: max(1, len(paths) // CHECKED_IMAGES)]}
