"""History that a model learns from: all trials of a sweep, or a sample of them where they are many.

The time of a proposal by TPE grows with the trials, and that of a Gaussian process with their cube. However many there
are, Optuna's TPE takes at most the best 25 as good trials, and all others as poor ones. A sample has the best trials in
TPE's own order, so that its good trials are the same. Of the poor ones a part is enough for their density.
"""

import copy
from bisect import insort
from collections.abc import Container, Sequence
from operator import attrgetter

import numpy as np
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState

SAMPLE_SIZE = 1_000
"""Judged trials up to which a model learns from all, and which a sample has at most."""

SAMPLED_BEST = 100
"""Trials of a sample that are the best."""

SAMPLED_NEWEST = 400
"""Trials of a sample that are the newest; the rest are an even share of the older ones."""

SAMPLED_RUNNING = 200
"""Running trials beside a sample: the newest. TPE counts them as poor, and new points avoid all others anyway."""

_JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


class ModelHistory:
    """ModelHistory: the judged trials of a study, completed or stopped, of which it gives a sample."""

    def __init__(self, *, maximize: bool) -> None:
        """Begin without trials; `maximize` is the direction of the study."""
        self._maximize = maximize
        self._by_number: list[FrozenTrial] = []
        self._best_first: list[tuple[tuple[bool, int, float], int, FrozenTrial]] = []

    def __len__(self) -> int:
        return len(self._by_number)

    def add(self, trial: FrozenTrial) -> None:
        """Add a judged trial, in any order; it never changes again."""
        insort(self._by_number, trial, key=attrgetter("number"))
        insort(self._best_first, (_badness(trial, maximize=self._maximize), trial.number, trial))

    def sample(self) -> list[FrozenTrial]:
        """Return at most SAMPLE_SIZE trials, ordered by number: the best, the newest, an even share of the others."""
        if len(self) <= SAMPLE_SIZE:
            return list(self._by_number)
        older, share = len(self) - SAMPLED_NEWEST, SAMPLE_SIZE - SAMPLED_NEWEST - SAMPLED_BEST
        even = np.linspace(0, older - 1, share, dtype=int)
        chosen = [
            *(trial for _, _, trial in self._best_first[:SAMPLED_BEST]),
            *self._by_number[-SAMPLED_NEWEST:],
            *(self._by_number[place] for place in even),
        ]
        return sorted({trial.number: trial for trial in chosen}.values(), key=attrgetter("number"))


class SampledJournal(JournalStorage):
    """SampledJournal: a journal of one study, which sees of its many trials those that a model learns from.

    Where more than SAMPLE_SIZE trials are judged, failed ones are not seen, and of the running ones only the newest.
    """

    def __init__(self, backend: BaseJournalBackend, *, maximize: bool) -> None:
        """Keep the trials in `backend`, which is empty; `maximize` is the direction of the study."""
        super().__init__(backend)
        self._history = ModelHistory(maximize=maximize)
        self._open: dict[int, TrialState] = {}
        """States of the trials that have not ended, in the order of their numbers: there are few of them."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial; one with a template may have ended already."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._note(trial_id, TrialState.RUNNING if template_trial is None else template_trial.state)
        return trial_id

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set the state of a trial, and its values where it has ended."""
        is_set = super().set_trial_state_values(trial_id, state, values)
        if is_set:
            self._note(trial_id, state)
        return is_set

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials in these states that a model learns from, in the order of their numbers."""
        if len(self._history) <= SAMPLE_SIZE:
            return super().get_all_trials(study_id, deepcopy, states)
        wanted = [state for state in TrialState if states is None or state in states]
        running = [trial_id for trial_id, state in self._open.items() if state is TrialState.RUNNING]
        waiting = [trial_id for trial_id, state in self._open.items() if state is TrialState.WAITING]
        unjudged = running[-SAMPLED_RUNNING:] if TrialState.RUNNING in wanted else []
        unjudged += waiting if TrialState.WAITING in wanted else []
        judged = self._history.sample() if any(state in _JUDGED for state in wanted) else []
        trials = [trial for trial in judged if trial.state in wanted] + [self.get_trial(each) for each in unjudged]
        trials.sort(key=attrgetter("number"))
        return copy.deepcopy(trials) if deepcopy else trials

    def _note(self, trial_id: int, state: TrialState) -> None:
        """Note the new state of a trial."""
        if state in _OPEN:
            self._open[trial_id] = state
            return
        self._open.pop(trial_id, None)
        if state in _JUDGED:
            self._history.add(self.get_trial(trial_id))


def _badness(trial: FrozenTrial, *, maximize: bool) -> tuple[bool, int, float]:
    """Return a sort key, best first, as TPE sorts: completed trials by value, then stopped ones by their epochs too."""
    sign = -1 if maximize else 1
    if trial.state is TrialState.COMPLETE:
        assert trial.value is not None
        return False, 0, sign * trial.value
    last = trial.last_step
    return True, -(last or 0), 0.0 if last is None else sign * trial.intermediate_values[last]
