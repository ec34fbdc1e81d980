"""From a search space to Optuna and back: the only place that knows both.

Each conditional branch is an Optuna parameter of its own (`lr@strategy=head`). With one name for two ranges TPE keeps
the first range it saw, and most proposals fall silently out of its joint model.
"""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from orchestrator.spec import Search
from search_spaces.domains import Choice, Domain, Int, Scalar
from search_spaces.space import Branch, Point, SearchSpace


def suggest(space: SearchSpace, trial: optuna.Trial) -> Point:
    """Ask `trial` for a value of every active dimension."""

    def ask(name: str, branch: Branch) -> Scalar:
        label, domain = branch.label(name), branch.domain
        if isinstance(domain, Choice):
            return cast(Scalar, trial.suggest_categorical(label, domain.values))
        if isinstance(domain, Int):
            return trial.suggest_int(label, domain.low, domain.high)
        return trial.suggest_float(label, domain.low, domain.high, log=domain.log)

    return space.walk(ask)


def sample(space: SearchSpace, count: int, seed: int) -> list[Point]:
    """`count` random points, the same for the same seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(space, study.ask()) for _ in range(count)]


def to_parameters(space: SearchSpace, point: Mapping[str, Any]) -> dict[str, Scalar]:
    """The point under Optuna's names: one a branch."""
    parameters: dict[str, Scalar] = {}

    def take(name: str, branch: Branch) -> Scalar:
        value: Scalar = point[name]
        parameters[branch.label(name)] = value
        return value

    space.walk(take)
    return parameters


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Optuna's distribution of every branch, by its label."""
    return {
        branch.label(name): _distribution(branch.domain)
        for name, branches in space.dimensions.items()
        for branch in branches
    }


def make_sampler(search: Search) -> optuna.samplers.BaseSampler:
    """The sampler of a sweep. A grid is enqueued point by point, so its sampler is never asked."""
    with warnings.catch_warnings():
        # Optuna calls these settings experimental; their behaviour is fixed by our tests.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                # group: conditional parameters are modelled jointly. constant_liar: trials that still run count as
                # poor, so that several workers do not try the same thing.
                return optuna.samplers.TPESampler(seed=search.seed, multivariate=True, group=True, constant_liar=True)
            case "gp":
                return optuna.samplers.GPSampler(seed=search.seed)
            case "qmc":
                return optuna.samplers.QMCSampler(seed=search.seed, warn_independent_sampling=False)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=search.seed)
            case "random" | "grid":
                return optuna.samplers.RandomSampler(seed=search.seed)


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Int):
        return IntDistribution(domain.low, domain.high)
    return FloatDistribution(domain.low, domain.high, log=domain.log)
