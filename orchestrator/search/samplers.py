"""Samplers: Optuna's sampler for each trial of a sweep, and the seeds of their draws."""

import warnings

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from orchestrator.spec.sections import Search


def seed_of(search: Search, number: int) -> int:
    """Return the seed of the draws for trial `number` of a sweep."""
    return int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])


def make_sampler(search: Search, number: int = 0) -> optuna.samplers.BaseSampler:
    """Make the sampler that proposes trial `number` of a sweep. A grid is enqueued point by point: it needs none.

    Every trial gets its own sampler, because the state of a used sampler is lost with the driver. With one sampler, a
    resumed sweep would draw the same numbers again, and propose its first points once more.
    """
    seed = seed_of(search, number)
    with warnings.catch_warnings():
        # Optuna calls these settings experimental; our tests fix their behavior.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                # group: conditional parameters are modeled jointly. constant_liar: running trials count as poor, so
                # that several workers do not try the same point. The best of 4 candidates, instead of Optuna's 24, is
                # less often a known point. All was chosen on one table, on which the search without TPE is as good:
                # `benchmarks/search/search_quality.md`.
                return optuna.samplers.TPESampler(
                    seed=seed, n_ei_candidates=4, multivariate=True, group=True, constant_liar=True
                )
            case "gp":
                return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case "qmc":
                return _NumberedQmc(number, seed)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=population_size(search))
            case "random" | "grid":
                return optuna.samplers.RandomSampler(seed=seed)


class _NumberedQmc(optuna.samplers.QMCSampler):
    """QMC sampler that takes trial `number` from that place of the sequence, not from the study's next place.

    The method is private; `test_searcher` checks that a resumed sweep continues its sequence and repeats nothing.
    """

    def __init__(self, number: int, seed: int) -> None:
        super().__init__(seed=seed, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self.number


def population_size(search: Search) -> int:
    """Return the size of a generation of nsga2: with Optuna's 50, most sweeps would end in the first, random one."""
    return min(50, max(4, search.trials // 4))
