"""Comparison of two trials of a run: where their settings differ, how they learned, and whether one is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.comparisons.folds import kind_of_images
from analysis.comparisons.paired import PairedDifference, paired_difference
from analysis.leaderboard import Leaderboard
from analysis.run_folder import RunFolder, open_run
from search_spaces.errors import InvalidInput, closest, shown
from trainables.config import Objective
from trainables.result import TrialResult
from trainables.storage.place import Place, as_place


@dataclass(frozen=True)
class TrialComparison:
    """TrialComparison: two trials side by side."""

    objective: Objective
    """Objective of the run."""

    trials: tuple[TrialResult, TrialResult]
    """The two, in the order in which they were named."""

    settings: Mapping[str, tuple[Any, Any]]
    """Settings that differ, by name; None where one does not apply to a trial."""

    paired: PairedDifference | None
    """The first minus the second on the same images; None where their predictions cannot be compared."""

    @property
    def curves(self) -> list[tuple[int, float | None, float | None]]:
        """Number of each epoch, and the objective of both trials after it; None where a trial was not so far."""
        metric = self.objective.metric
        values = [
            {report.epoch: report.metrics[metric] for report in trial.reports if metric in report.metrics}
            for trial in self.trials
        ]
        return [(epoch, values[0].get(epoch), values[1].get(epoch)) for epoch in sorted({*values[0], *values[1]})]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        paired = self.paired
        difference = None
        if paired is not None:
            value, (low, high) = paired.difference.value, paired.difference.interval
            difference = {"value": value, "low": low, "high": high, "images": paired.images}
        return {
            "metric": self.objective.metric,
            "trial_ids": [trial.trial_id for trial in self.trials],
            "objectives": [trial.objective for trial in self.trials],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "curves": [{"epoch": epoch, "objectives": [first, second]} for epoch, first, second in self.curves],
            "difference": difference,
        }


def compare_trials(run: RunFolder | Place | str, board: Leaderboard, first: str, second: str) -> TrialComparison:
    """Compare two trials of a run by its leaderboard and the predictions of both.

    Raises InvalidInput where the run lacks one, or both are the same.
    """
    folder = run if isinstance(run, RunFolder) else open_run(as_place(run))
    if first == second:
        raise InvalidInput(f"trials: must be two, got {shown(first)} twice; name another one")
    trials = (_find(board, first), _find(board, second))
    own, other = trials[0].config.flat(), trials[1].config.flat()
    names = dict.fromkeys([*own, *other])
    differing = {name: (own.get(name), other.get(name)) for name in names if own.get(name) != other.get(name)}
    paired = paired_difference(folder, first, second, board.objective.metric, board.metrics_version)
    return TrialComparison(board.objective, trials, differing, paired)


def comparison_text(found: TrialComparison) -> str:
    """Return a sentence that says which of the two is better, and whether the images tell them apart."""
    first, second = (trial.trial_id for trial in found.trials)
    metric, paired = found.objective.metric, found.paired
    if paired is None:
        return (
            f"{metric}: no interval of their difference; it takes accuracy, balanced accuracy or macro-F1, and "
            "predictions of both trials on the same images"
        )
    value, (low, high) = paired.difference.value, paired.difference.interval
    images = f"{paired.images} {kind_of_images(found.trials[0])} images"
    figures = f"{metric} {value:+.4f} (95 % interval on {images}: {low:+.4f} to {high:+.4f})"
    if low > 0 or high < 0:
        return f"{first} is {'better' if low > 0 else 'worse'} than {second}: {figures}"
    return f"{first} and {second} cannot be told apart: {figures}"


def _find(board: Leaderboard, name: str) -> TrialResult:
    known = {entry.trial.trial_id: entry.trial for entry in board.entries}
    if not known:
        raise InvalidInput(f"{board.source}: must have the trial {shown(name)}, got a run without trials; wait for it")
    if name not in known:
        raise InvalidInput(
            f"{board.source}: a trial must be one of the run's, got {shown(name)}; {closest(name, sorted(known))}"
        )
    return known[name]
