"""Samplers: Optuna's sampler for each trial of a sweep, and the seeds of their draws."""

import warnings

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from orchestrator.spec.sections import Search


def seed_of(search: Search, number: int) -> int:
    """The seed of what is drawn for trial `number` of a sweep."""
    return int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])


def make_sampler(search: Search, number: int = 0) -> optuna.samplers.BaseSampler:
    """The sampler that proposes trial `number` of a sweep. A grid is enqueued point by point: its sampler is not asked.

    A sampler of its own for every trial, because the state of one that has been asked before dies with the driver: a
    resumed sweep would draw the same numbers again, and propose its first points once more.
    """
    seed = seed_of(search, number)
    with warnings.catch_warnings():
        # Optuna calls these settings experimental; their behaviour is fixed by our tests.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                # group: conditional parameters are modelled jointly. constant_liar: trials that still run count as
                # poor, so that several workers do not try the same thing. Of 4 candidates instead of Optuna's 24 the
                # best is less often what is known already. All was chosen on one table, on which the search without
                # TPE is as good: `benchmarks/search/search_quality.md`.
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
    """Takes trial `number` from that place of the sequence, not from the next one that the study has counted to.

    The method is private; `test_searcher` sees that a resumed sweep goes on in its sequence, and repeats nothing.
    """

    def __init__(self, number: int, seed: int) -> None:
        super().__init__(seed=seed, warn_independent_sampling=False)
        self.number = number

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self.number


def population_size(search: Search) -> int:
    """Trials of one generation of nsga2: with Optuna's 50, most sweeps would end within the first, random one."""
    return min(50, max(4, search.trials // 4))
