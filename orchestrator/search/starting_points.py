"""Starting points: what a sweep tries before random points and the sampler's. Light to import: without Optuna."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.spec.search_problem import SearchProblem
from orchestrator.spec.sweep_spec import DEFAULT_RECIPE, THAWS
from search_spaces.space import Point, point_with

_HOW_TO_THAW = ("strategy", "norm_stats", "head_init")


def starting_points(
    problem: SearchProblem,
    given: Sequence[Point],
    probed: Sequence[str],
) -> list[Point]:
    """List the points that are tried before random ones and the sampler's, at most `search.trials` of them.

    `given` are those of the sweep file and of a grid. `probed` are the probed architectures, best first. Each is tried
    by every recipe of THAWS, if the space has the first of them: a frozen head from the probe could tell nothing that
    the probe has not. Otherwise it is tried once, by the default recipe. They take at most half of the trials; the
    other half is the sampler's.
    """
    space, trials = problem.space, problem.search.trials
    if not probed:
        default = space.nearest_default(DEFAULT_RECIPE)
        return list(given)[:trials] or ([] if default is None else [default])
    points = (point for name in probed for point in _probed_points(problem, name))
    new = [point for point in points if point not in given]
    return [*given, *new[: max(1, trials // 2)]][:trials]


def _probed_points(problem: SearchProblem, architecture: str) -> list[Point]:
    """Return the points by which a probed architecture is tried first."""
    points = [_as_preferred(problem, {**thaw, "architecture": architecture}, _HOW_TO_THAW) for thaw in THAWS]
    if points[0] is None:
        plain = _as_preferred(problem, {**DEFAULT_RECIPE, "architecture": architecture}, ())
        points = [plain or point_with(problem.space, DEFAULT_RECIPE, "architecture", architecture)]
    return [point for point in points if point is not None]


def _as_preferred(problem: SearchProblem, preferred: Mapping[str, Any], names: Sequence[str]) -> Point | None:
    """Return the preferred point; None where its architecture, or its setting of one of `names`, is another."""
    point = problem.space.nearest_default(preferred)
    if point is None:
        return None
    config = problem.configure(point)
    return point if all(getattr(config, name) == preferred[name] for name in ("architecture", *names)) else None
