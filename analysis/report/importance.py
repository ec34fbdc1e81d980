"""Importance: how much of the order of a run's trials each setting explains, within each branch of the space.

The trials of a branch are ranked by the objective. The share of the ranks' variance between the values of a setting,
corrected for the number of values, is its importance: epsilon squared of Kruskal and Wallis' test (Tomczak & Tomczak
2014, The need to report effect size estimates revisited). It is the setting's own effect, without interactions. A
setting is said to matter where permuted ranks rarely explain as much, corrected for all settings that are looked at
(Holm 1979). Trials that were stopped early take part with the best that they reached.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from search_spaces.domains import Scalar
from search_spaces.space import Branch, SearchSpace
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.status import Status

MINIMUM_TRIALS = 20
"""Trials of a branch below which nothing is said of its settings."""

_LEVEL = 0.05
_PERMUTATIONS = 2000
_BINS = 5


@dataclass(frozen=True)
class Importance:
    """Importance: what the trials of one branch say about one setting."""

    branch: Mapping[str, Scalar]
    """Values that make the branch, e.g. `strategy: partial`; empty for all trials."""

    parameter: str
    """Name of the setting."""

    trials: int
    """Number of the branch's trials that have an objective."""

    share: float | None = None
    """Share of the order that the setting explains, 0 to 1; None with too few trials."""

    chance: float | None = None
    """Chance that a setting without effect explains as much, corrected; None with too few trials."""

    @property
    def matters(self) -> bool:
        """True where chance does not explain the share."""
        return self.chance is not None and self.chance <= _LEVEL

    def __str__(self) -> str:
        if self.share is None:
            return f"too few trials ({self.trials} of {MINIMUM_TRIALS})"
        return f"{self.share:.2f}" if self.matters else "no effect seen"


def importances(space: SearchSpace, objective: Objective, trials: Sequence[TrialResult]) -> list[Importance]:
    """Return the importance of each setting that varies, for all trials and then for each branch of the space."""
    judged = [
        (trial, objective.score(trial.objective))
        for trial in trials
        if trial.status in (Status.COMPLETED, Status.PRUNED) and trial.objective is not None
    ]
    found: list[Importance] = []
    for values in _branches(space):
        own = [(trial, score) for trial, score in judged if values.items() <= trial.parameters.items()]
        points = [trial.parameters for trial, _ in own]
        scores = np.array([score for _, score in own])
        for name in space.dimensions:
            if name in values or not _is_one_domain(space, name, points) or _varies(points, name) < 2:
                continue
            importance = Importance(values, name, len(own))
            if len(own) >= MINIMUM_TRIALS:
                share, chance = _explained(scores, _groups([point[name] for point in points]))
                importance = replace(importance, share=share, chance=chance)
            found.append(importance)
    return _corrected(found)


def _branches(space: SearchSpace) -> list[Mapping[str, Scalar]]:
    """Return the empty branch, and each value of each dimension on which another one depends."""
    branches = [branch for dimension in space.dimensions.values() for branch in dimension]
    parents = dict.fromkeys(name for branch in branches for name in branch.when if name in space.dimensions)
    return [{}, *({name: value} for name in parents for value in space.dimensions[name][0].domain.corners())]


def _is_one_domain(space: SearchSpace, name: str, points: Sequence[Mapping[str, Scalar]]) -> bool:
    """Return whether the setting applies to all points, with one range: other ranges are other settings."""
    applied: list[Branch | None] = []
    for point in points:
        branch = space.active(name, point)
        if branch not in applied:
            applied.append(branch)
    return len(applied) == 1 and applied[0] is not None and all(name in point for point in points)


def _varies(points: Sequence[Mapping[str, Scalar]], name: str) -> int:
    return len({(type(point[name]), point[name]) for point in points})


def _groups(values: Sequence[Scalar]) -> npt.NDArray[np.int64]:
    """Return the group of each trial: that of its value, or one of five of equal size for a number with many values."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numeric and len(set(values)) > _BINS:
        numbers = np.array(values, dtype=float)
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))
        return np.searchsorted(edges, numbers, side="right")
    known = {key: number for number, key in enumerate(dict.fromkeys((type(value), value) for value in values))}
    return np.array([known[type(value), value] for value in values])


def _explained(scores: npt.NDArray[np.float64], groups: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the share of the ranks' variance between the groups, and the chance of as much by permutation."""
    ranks = _ranks(scores)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if total == 0:
        return 0.0, 1.0
    member = np.equal.outer(groups, np.unique(groups)).astype(float)
    sizes = member.sum(axis=0)
    shuffled = np.random.default_rng(0).permuted(np.tile(ranks, (_PERMUTATIONS, 1)), axis=1)
    between = [
        ((rows @ member) ** 2 / sizes).sum(axis=1) - len(ranks) * ranks.mean() ** 2 for rows in (ranks[None], shuffled)
    ]
    share = float(between[0][0]) / total
    corrected = 1 - (1 - share) * (len(ranks) - 1) / max(len(ranks) - len(sizes), 1)
    chance = (1 + int((between[1] >= between[0][0] - 1e-9).sum())) / (1 + _PERMUTATIONS)
    return max(corrected, 0.0), chance


def _ranks(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ranks from 1; equal scores share theirs."""
    ordered, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse].reshape(len(scores)) if len(ordered) else scores


def _corrected(found: list[Importance]) -> list[Importance]:
    """Correct the chances for their number, after Holm: the smallest times all, the next times all but one, ..."""
    tested = sorted((each.chance, index) for index, each in enumerate(found) if each.chance is not None)
    highest = 0.0
    for place, (chance, index) in enumerate(tested):
        highest = max(highest, min(1.0, chance * (len(tested) - place)))
        found[index] = replace(found[index], chance=highest)
    return found
