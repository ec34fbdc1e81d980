"""Sample of a data set, for estimates that must not take longer where there are more images."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from trainables.data.arrays import Arrays, Split
from trainables.data.fingerprint import Fingerprints


def sample_arrays(arrays: Arrays, most: Mapping[str, int]) -> Arrays:
    """Return at most so many images of each split in `most`, each class in its share and with one image or more.

    The images of a class are taken evenly over their order, so the sample depends on the data set alone. The images
    themselves are returned where all of them fit.
    """
    wanted = {split: count for split, count in most.items() if len(arrays.splits[split]) > count}
    if not wanted:
        return arrays
    dataset, splits = arrays.dataset, dict(arrays.splits)
    samples = dict(dataset.splits)
    for split, count in wanted.items():
        rows = _stratified(dataset.labels(split), count)
        samples[split] = tuple(dataset.splits[split][row] for row in rows)
        splits[split] = Split(arrays.splits[split].images[rows])
    name = hashlib.sha256(f"{arrays.fingerprints.stored} sample {sorted(wanted.items())}".encode()).hexdigest()
    return replace(
        arrays,
        dataset=replace(dataset, splits=samples, undivided=None),
        fingerprints=Fingerprints(trained=name, measured=None, stored=name),  # caches hold the sample as another set
        splits=splits,
    )


def _stratified(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    chosen = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        kept = max(1, round(count * len(own) / len(labels)))
        chosen.append(own[np.linspace(0, len(own) - 1, min(kept, len(own))).astype(int)])
    return np.sort(np.concatenate(chosen))
