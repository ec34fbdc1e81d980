"""Rungs: ASHA with the freeze plan; a trial is never judged before it has thawed.

Asynchronous successive halving (Li et al., arXiv 1810.05934): a trial that reaches a rung is compared with all trials
that reached it before; outside the best 1/reduction it is stopped. A rung below the trial's last thaw plus the grace
period would compare the trial while it is frozen. The trial passes it unjudged, and its value is never entered there.

A rung is a number of epochs, each counted for its training FLOPs, in units of the mean epoch of the trial's own whole
budget. A rung is thus a share of each trial's budget (the resource of Hyperband, arXiv 1603.06560, is such a share),
the same for a small architecture and a large one. In plain FLOPs, the small one would be judged when it is almost
trained, the large one after a few batches. For a plan that never changes, these units are epochs. A trial that thaws
late has spent little by then, and is compared with others that have spent as little. With `resource: epochs` it passes
most rungs unjudged, and can hardly be stopped at all; `benchmarks/search/search_quality.md` has both, for one table on
which none of the best trials thaws late.

All trials share the rungs, whatever their strategy, and the first rung comes early. Rungs within each strategy stop as
many of the best trials, or more. Later first rungs stop fewer. With the same compute, neither finds more:
`benchmarks/search/stopping.md`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

import numpy as np

from orchestrator.spec.sections import Asha, Stopping
from trainables.config import TrialConfig
from trainables.model.freeze_plan import freeze_plan
from trainables.result import Rung, TrialResult, best_report

Flops = Callable[[TrialConfig], Sequence[float]]


def flops_by_epoch(config: TrialConfig) -> Sequence[float]:
    """Return the training FLOPs of each epoch; imports torch only here, so that `resource: epochs` avoids it."""
    from trainables.estimate import flops

    return flops.training_flops(config)


class Rungs:
    """Rungs: value of each trial at each rung that it has reached."""

    def __init__(self, asha: Asha, max_epochs: int, flops: Flops = flops_by_epoch) -> None:
        self.asha = asha
        self.flops = flops
        self.values: dict[int, dict[str, float]] = {}
        self.passed: dict[int, dict[str, int]] = {}
        """Epoch (from 1) after which each trial has passed each rung, judged or not."""
        self._seen: dict[str, int] = {}
        rung = asha.grace
        while rung < max_epochs:
            self.values[rung] = {}
            self.passed[rung] = {}
            rung *= asha.reduction

    def continues(self, trial: TrialResult) -> bool:
        """Enter the epochs of a trial that are new since the last call, and judge it; return whether it continues."""
        seen = self._seen.get(trial.trial_id, 0)
        self._seen[trial.trial_id] = len(trial.reports)
        new = range(seen + 1, len(trial.reports) + 1)
        verdicts = []
        for each in self.passing(trial.config):
            if each.epoch in new:
                self.passed[each.rung][trial.trial_id] = each.epoch
                verdicts.append(not each.judged or self._keeps_at(trial, each.epoch, each.rung))
        return all(verdicts)

    def emptied(self) -> "Rungs":
        """Return the same rungs without any values."""
        empty = Rungs(self.asha, 0, self.flops)
        empty.values = {rung: {} for rung in self.values}
        empty.passed = {rung: {} for rung in self.passed}
        return empty

    def restore(self, trials: Iterable[TrialResult]) -> None:
        """Enter the trials of an earlier part of the run, in their order."""
        for trial in trials:
            self.continues(trial)

    def judging(self, config: TrialConfig) -> Iterator[tuple[int, int]]:
        """Yield the epochs (from 1) after which a trial is judged, each with its rung."""
        return ((each.epoch, each.rung) for each in self.passing(config) if each.judged)

    def first_judged_epoch(self, config: TrialConfig) -> int | None:
        """Return the first epoch (from 1) after which a trial of this configuration may be stopped; None if never."""
        return min((epoch for epoch, _ in self.judging(config) if epoch < config.epochs), default=None)

    def passing(self, config: TrialConfig) -> Iterator[Rung]:
        """Yield the rungs that a trial passes if it is trained to its end, in order.

        An epoch that passes several rungs is judged at the last: at the others the trial has had more than its rivals.
        At its end a trial has had more than its rivals too, and is not judged, unless it ends exactly at the rung.
        """
        first = freeze_plan(config).last_boundary + self.asha.grace
        for epoch, (before, after) in enumerate(pairwise(self._spent(config)), start=1):
            passed = [rung for rung in self.values if before < rung <= after]
            if passed:
                judged = epoch >= first and (epoch < config.epochs or after == passed[-1])
                yield Rung(epoch=epoch, rung=passed[-1], judged=judged)

    def _spent(self, config: TrialConfig) -> list[float]:
        """Return the resource that a trial has had before its first epoch, after it, after its second, and so on."""
        if self.asha.resource == "epochs":
            return list(range(config.epochs + 1))
        flops = self.flops(config)
        mean = sum(flops) / len(flops)
        return [round(each / mean, 6) for each in accumulate(flops, initial=0.0)]  # equal epochs make whole numbers

    def _keeps_at(self, trial: TrialResult, epoch: int, rung: int) -> bool:
        objective = trial.config.objective
        # Values from before the thaw had taken effect stay out of the rung, however good they are.
        first = freeze_plan(trial.config).last_boundary + self.asha.grace
        best = best_report(trial.reports[first - 1 : epoch], objective)
        if best is None:
            return True
        values = self.values[rung]
        values[trial.trial_id] = objective.score(objective.value(best.metrics))
        cutoff = np.percentile(list(values.values()), (1 - 1 / self.asha.reduction) * 100)
        return bool(values[trial.trial_id] >= cutoff)


def make_rungs(stopping: Stopping | None, configs: Iterable[TrialConfig]) -> Rungs | None:
    """Make the rungs, still empty, for trials whose longest are among `configs`; None where nothing is stopped."""
    return None if stopping is None else Rungs(stopping.asha, max(config.epochs for config in configs))


def unstoppable_warning(rungs: Rungs | None, configs: Sequence[TrialConfig]) -> str | None:
    """Name those of `configs` that thaw so late that no rung is left to stop them at; None where there are none."""
    late = [config for config in configs if rungs is not None and rungs.first_judged_epoch(config) is None]
    if rungs is None or not late:
        return None
    epochs, grace, compute = min(config.epochs for config in late), rungs.asha.grace, rungs.asha.resource == "compute"
    remedies = ["set a smaller stopping.asha.grace or reduction", "thaw earlier", "train longer"]
    remedies += [] if compute else ["count stopping.asha.resource: compute"]
    remedy = f"{', '.join(remedies)}, or set stopping: none"
    if len(late) == len(configs):
        between = f"of {epochs} epochs none is a rung after the last thaw and {grace} of grace"
        return f"no trial of this sweep can be stopped early: {between}; {remedy}"
    strategies = ", ".join(dict.fromkeys(config.strategy for config in late))
    first = min(freeze_plan(config).last_boundary for config in late)
    passed = f"with {grace} of grace they pass no rung before their end at {epochs}"
    if not compute:
        last = max((epoch for epoch in rungs.values if epoch < epochs), default=0)
        first = max(0, last - grace + 1)
        passed = f"with {grace} of grace they are past epoch {last}, the last rung before their end at {epochs}"
    return (
        f"trials that thaw for the last time at epoch {first} or later ({strategies}) are never stopped early: "
        f"{passed}; {remedy}"
    )
