"""Conversion of a search space to Optuna and back: the only module that knows both.

Each conditional branch is an Optuna parameter of its own (`lr (strategy: head)`). If two ranges shared one name, TPE
would keep the first range it saw, and most proposals would silently fall out of its joint model.
"""

from collections.abc import Mapping
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

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


def to_parameters(space: SearchSpace, point: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the point under Optuna's names: one per branch."""
    parameters: dict[str, Scalar] = {}

    def take(name: str, branch: Branch) -> Scalar:
        value: Scalar = point[name]
        parameters[branch.label(name)] = value
        return value

    space.walk(take)
    return parameters


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every branch, by its label."""
    return {
        branch.label(name): _distribution(branch.domain)
        for name, branches in space.dimensions.items()
        for branch in branches
    }


def distributions_json(space: SearchSpace) -> dict[str, str]:
    """Return Optuna's distribution of every branch as JSON text, by its label."""
    return {name: distribution_to_json(own) for name, own in distributions(space).items()}


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Int):
        return IntDistribution(domain.low, domain.high)
    return FloatDistribution(domain.low, domain.high, log=domain.log)
