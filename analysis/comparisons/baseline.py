"""Baseline of a run: the best linear probe of its architectures, and whether the winner beats it.

A search whose winner does not beat a linear probe was of no use. The interval covers the choice of the validation
images. The winner was chosen on them, so its score there is too high.
"""

from dataclasses import dataclass

from analysis.comparisons.paired import paired_difference
from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder, probe_id
from trainables.interval import Difference
from trainables.result import TrialResult


@dataclass(frozen=True)
class Baseline:
    """The winner of a run beside the best linear probe."""

    winner: TrialResult
    """Best trial of the run."""

    architecture: str
    """Architecture of the probe, which need not be the winner's."""

    probe: float
    """Objective of the probe."""

    architectures: frozenset[str]
    """Architectures that have a probe."""

    images: int
    """Images of the validation split."""

    difference: Difference
    """The winner minus its probe, with the interval of other validation images."""

    @property
    def is_beaten(self) -> bool:
        """True where the interval lies above 0."""
        return self.difference.interval.low > 0


def baseline(run: RunFolder, board: Leaderboard) -> Baseline | None:
    """Compare the winner with the best probe of the run.

    Returns None without a probe, for a metric without a bootstrap, and where predictions are missing, unreadable or of
    other images: the end of a sweep does not depend on them. Raises InvalidInput when the run has no winner.
    """
    winner = board.winner()
    if not board.probes:
        return None
    probe = board.probes[0]
    names = winner.trial_id, probe_id(probe.architecture)
    found = paired_difference(run, *names, board.objective.metric, board.metrics_version)
    if found is None:
        return None
    probed = frozenset(each.architecture for each in board.probes)
    return Baseline(winner, probe.architecture, probe.objective, probed, found.images, found.difference)
