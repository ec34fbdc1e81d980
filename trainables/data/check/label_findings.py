"""Labels to look at first: confident learning on out-of-fold predictions from frozen features."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainables.data.check.finding import Finding, finding
from trainables.data.check.inspection import Inspected
from trainables.data.check.near_groups import Features, near_groups

MOST_LABELS = 50
"""Labels to look at that are listed, at most."""

_FOLDS = 5
# Least images of a class that are predicted: with fewer, a fold may hold all of them.
_LEAST = 2 * _FOLDS
# scikit-learn's C for features with a standard deviation of 1 over all of their dimensions.
_STRENGTH = 0.01

Probabilities = npt.NDArray[np.float64]


def label_findings(images: Sequence[Inspected], features: Features) -> Iterator[Finding]:
    """Yield a finding on each of the images whose label a model of the others doubts most, at most MOST_LABELS.

    `features` (n, d) are those of the images, which have no fault. Classes of few images are left out.
    """
    names, labels = np.unique([image.entry.label for image in images], return_inverse=True)
    sides = _sides(images)
    counts = np.array([len(np.unique(sides[labels == label])) for label in range(len(names))])
    kept = np.flatnonzero(counts[labels] >= _LEAST)
    used = np.flatnonzero(counts >= _LEAST)
    if len(used) < 2:
        return
    renumbered = np.searchsorted(used, labels[kept])
    chances = out_of_fold(features[kept], renumbered, sides[kept])
    margins = doubtful(chances, renumbered)
    for place in sorted(margins, key=lambda place: margins[place])[:MOST_LABELS]:
        entry, guess = images[int(kept[place])].entry, int(chances[place].argmax())
        given, other = chances[place, renumbered[place]], chances[place, guess]
        text = f"label {entry.label} ({given:.0%}); others look more like {names[used[guess]]} ({other:.0%})"
        yield finding("labels", [entry.path], text, -margins[place])


def doubtful(chances: Probabilities, labels: npt.NDArray[np.int64]) -> dict[int, float]:
    """Return the self-confidence margin of the samples off the diagonal of the confident joint, by their places.

    `chances` (n, classes) are out of fold. Confident learning, Northcutt et al. 2021, arXiv 1911.00068: a sample counts
    as class k where its chance of k reaches the mean of those that bear the label k.
    """
    rows = np.arange(len(labels))
    own = chances[rows, labels]
    bars = np.array([own[labels == label].mean() for label in range(chances.shape[1])])
    candidates = np.where(chances >= bars, chances, -1.0)
    best = candidates.argmax(axis=1)
    is_off = (candidates.max(axis=1) >= 0) & (best != labels)
    others = chances.copy()
    others[rows, labels] = -1.0
    margins = own - others.max(axis=1)
    return {int(place): float(margins[place]) for place in np.flatnonzero(is_off)}


def out_of_fold(features: Features, labels: npt.NDArray[np.int64], sides: npt.NDArray[np.int64]) -> Probabilities:
    """Return the chances (n, classes) of each sample from a logistic regression on samples of other `sides`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    rows = features.astype(np.float64)
    rows -= rows.mean(axis=0)
    rows /= float(rows.std(axis=0).mean()) or 1.0
    chances = np.zeros((len(labels), int(labels.max()) + 1))
    parts = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0).split(rows, labels, sides)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close to the optimum serves a ranking as well
        for train, held in parts:
            model = LogisticRegression(C=_STRENGTH, max_iter=200).fit(rows[train], labels[train])
            chances[np.ix_(held, model.classes_)] = model.predict_proba(rows[held])
    return chances


def _sides(images: Sequence[Inspected]) -> npt.NDArray[np.int64]:
    """Return the number of the group of each image: near-duplicates are not predicted from one another."""
    hashed = [
        (place, image.measures.hash)
        for place, image in enumerate(images)
        if image.measures is not None and image.measures.hash is not None
    ]
    sides = np.arange(len(images))
    for group in near_groups([value for _, value in hashed], [images[place].digest for place, _ in hashed]):
        sides[[hashed[member][0] for member in group]] = hashed[group[0]][0]
    return sides
