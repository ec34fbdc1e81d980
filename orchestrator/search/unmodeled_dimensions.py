"""Unmodeled dimensions: those that a sampler draws at random, derived from the sweep file alone, without Optuna."""

from orchestrator.spec.sections import Search
from search_spaces.space import SearchSpace


def drawn_at_random(search: Search, space: SearchSpace) -> list[str]:
    """Return the conditional dimensions that the sampler does not model: it draws their values at random."""
    if search.sampler not in ("gp", "qmc", "nsga2"):
        return []
    return [name for name, branches in space.dimensions.items() if any(branch.when for branch in branches)]


def sampler_warning(search: Search, space: SearchSpace) -> str | None:
    """Return the warning about a sampler that cannot learn about all of the space; None where it can."""
    names = drawn_at_random(search, space)
    if not names:
        return None
    return (
        f"search.sampler {search.sampler} draws conditional dimensions at random ({', '.join(names)}) and learns about "
        "the others only; tpe learns about all"
    )
