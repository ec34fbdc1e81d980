"""TPE that goes on exploring: every third trial is drawn at random.

By itself TPE settles: after a dozen trials it proposes little but neighbours of the best ones, and what it has not seen
by then it never sees. A fixed share of random trials keeps the guarantee of random search, at most three times slower,
whatever the model believes: the third is that of BOHB (Falkner et al., arXiv 1807.01774).
"""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

EXPLORED = 3
"""One trial in so many is drawn at random."""


class ExploringTpe(optuna.samplers.TPESampler):
    """Optuna's TPE, which is not asked for the trials whose number leaves no remainder."""

    def __init__(self, seed: int, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        # A stream of its own: TPE's first trials are random too, and from the same seed they would be the same.
        own = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
        self._random = optuna.samplers.RandomSampler(seed=own)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing for a trial that explores: each of its parameters is then asked for by itself."""
        return {} if explores(trial.number) else super().sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value for a trial that explores."""
        if explores(trial.number):
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        return super().sample_independent(study, trial, param_name, param_distribution)


def explores(number: int) -> bool:
    """Whether the trial of this number is drawn at random."""
    return number % EXPLORED == 0
