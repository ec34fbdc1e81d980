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
    dataset, splits = arrays.dataset, dict(arrays.splits)
    own = [split for split in most if split in dataset.distinct_splits]
    wanted = {split: most[split] for split in own if len(splits[split]) > most[split]}
    if not wanted:
        return arrays
    samples, fold_of = dict(dataset.splits), dataset.fold_of
    for split, count in wanted.items():
        rows = _stratified(dataset.labels(split), count)
        samples[split] = tuple(dataset.splits[split][row] for row in rows)
        splits[split] = Split(arrays.splits[split].images[rows])
        if split == "train" and fold_of:  # val has the same images
            samples["val"], splits["val"] = samples[split], splits[split]
            fold_of = tuple(fold_of[row] for row in rows)
    name = hashlib.sha256(f"{arrays.fingerprints.stored} sample {sorted(wanted.items())}".encode()).hexdigest()
    return replace(
        arrays,
        dataset=replace(dataset, splits=samples, undivided=None, fold_of=fold_of),
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
