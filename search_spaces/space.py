"""SearchSpace: dimensions with conditions between them, as data that can be printed, checked and walked.

`walk` is the only traversal: code that draws, checks or counts points decides how a value is chosen, never which
dimensions are active. The form follows Google Vizier's conditional parameters.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from random import Random
from typing import Any

from search_spaces.domains import Choice, Domain, Float, Scalar, parse_domain
from search_spaces.errors import InvalidInput, closest, shown

Point = dict[str, Scalar]

# Points that `point_with` draws in search of one with the value.
_CANDIDATES = 500


@dataclass(frozen=True)
class Branch:
    """Branch: one domain of a dimension, and the values of other dimensions under which it applies."""

    domain: Domain
    when: Mapping[str, tuple[Scalar, ...]]

    def label(self, name: str) -> str:
        """Return the unique name of the branch, e.g. `lr (strategy: head)`; the plain name without a condition."""
        if not self.when:
            return name
        conditions = (f"{parent}: {' or '.join(map(str, values))}" for parent, values in self.when.items())
        return f"{name} ({', '.join(conditions)})"

    def excludes(self, other: "Branch") -> bool:
        """Return whether both can never apply at once: they require different values of the same dimension."""
        return any(not set(values) & set(other.when[name]) for name, values in self.when.items() if name in other.when)


@dataclass(frozen=True)
class SearchSpace:
    """SearchSpace: `dimensions` that vary, parents before children, and `fixed` settings that do not."""

    dimensions: Mapping[str, tuple[Branch, ...]]
    fixed: Mapping[str, Any]

    @classmethod
    def parse(cls, raw: Mapping[str, Any], fixed: Mapping[str, Any], source: str = "space") -> "SearchSpace":
        """Read the `space` section of a sweep file; `fixed` is its `trial` section. Raises InvalidInput."""
        dimensions: dict[str, tuple[Branch, ...]] = {}
        for name, value in raw.items():
            key = f"{source}.{name}"
            if name in fixed:
                raise InvalidInput(
                    f"{key}: is set under `trial` as well (to {shown(fixed[name])}); remove one of the two"
                )
            if isinstance(value, list) and not value:
                raise InvalidInput(f"{key}: must have at least one domain, got an empty list")
            if isinstance(value, list) and not any(isinstance(entry, Mapping) for entry in value):
                raise InvalidInput(
                    f"{key}: must be a domain, got {shown(value)}; write {{choice: [a, b]}} to try each value"
                )
            entries = [(value, key)]
            if isinstance(value, list):
                entries = [(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
            dimensions[name] = tuple(Branch(parse_domain(*entry), _parse_when(*entry)) for entry in entries)
        _check_conditions(dimensions, fixed, source)
        return cls(dimensions={name: dimensions[name] for name in _parents_first(dimensions, source)}, fixed=fixed)

    def walk(self, choose: Callable[[str, Branch], Scalar]) -> Point:
        """Visit the active dimensions, parents first; `choose` gives each a value."""
        point: Point = {}
        for name in self.dimensions:
            branch = self.active(name, point)
            if branch is not None:
                point[name] = choose(name, branch)
        return point

    def active(self, name: str, point: Mapping[str, Any]) -> Branch | None:
        """Return the branch of a dimension that applies given the values of its parents; None when none does."""
        values = {**self.fixed, **point}
        for branch in self.dimensions[name]:
            if all(
                parent in values and Choice(wanted).contains(values[parent]) for parent, wanted in branch.when.items()
            ):
                return branch
        return None

    def validate(self, point: Mapping[str, Any], source: str = "point") -> Point:
        """Return the point in the space's order. Raises InvalidInput unless it sets exactly the active dimensions."""
        for name in point:
            if name not in self.dimensions:
                raise InvalidInput(f"{source}.{name}: unknown dimension; {closest(name, self.dimensions)}")

        def given(name: str, branch: Branch) -> Scalar:
            if name not in point:
                raise InvalidInput(f"{source}.{name}: required here, but not set; give a value from {branch.domain}")
            if not branch.domain.contains(point[name]):
                raise InvalidInput(f"{source}.{name}: must be from {branch.domain}, got {shown(point[name])}")
            return _plain(point[name], branch.domain)

        checked = self.walk(given)
        for name in point:
            if name not in checked:
                conditions = "; ".join(branch.label(name) for branch in self.dimensions[name])
                raise InvalidInput(f"{source}.{name}: does not apply to this point, only {conditions}; remove it")
        return checked

    def contains(self, point: Mapping[str, Any]) -> bool:
        """Return whether `validate` accepts the point."""
        try:
            self.validate(point)
        except InvalidInput:
            return False
        return True

    def nearest_default(self, preferred: Mapping[str, Scalar]) -> Point | None:
        """Return the point with the preferred values; a choice without a preference takes its first value.

        Returns None when a preferred value lies outside the space, or a range has no preference.
        """

        def pick(name: str, branch: Branch) -> Scalar:
            if name in preferred and branch.domain.contains(preferred[name]):
                return _plain(preferred[name], branch.domain)
            if isinstance(branch.domain, Choice) and name not in preferred:
                return branch.domain.values[0]
            raise LookupError(name)

        try:
            return self.walk(pick)
        except LookupError:
            return None

    def draws(self, seed: int) -> Iterator[Point]:
        """Draw random points without end, the same for the same seed; parents are drawn first, uniformly."""
        chance = Random(seed)
        while True:
            yield self.walk(lambda name, branch: branch.domain.draw(chance))

    def grid(self) -> Iterator[Point]:
        """Yield every point, in order. Raises InvalidInput when a dimension is continuous."""
        for name, branches in self.dimensions.items():
            for branch in branches:
                if branch.domain.size() is None:
                    raise InvalidInput(
                        f"space.{name}: a grid needs countable values, got {branch.domain}; list them with choice"
                    )
        yield from self._expand({}, list(self.dimensions), _all_values)

    def corners(self, together: Iterable[str]) -> Iterator[Point]:
        """Yield points that together reach every end of every branch, and every combination of the ends of `together`.

        A rule that holds at all these points holds in the space, if it is about single dimensions or about `together`.
        """
        joint = set(together)
        seen: set[tuple[tuple[str, Scalar], ...]] = set()
        for focus in [None, *(name for name in self.dimensions if name not in joint)]:
            spread = joint if focus is None else joint | self._ancestors(focus) | {focus}

            def ends(name: str, branch: Branch, spread: set[Any] = spread) -> tuple[Scalar, ...]:
                corners = self._telling(name, branch.domain)
                return corners if name in spread else corners[:1]

            for point in self._expand({}, list(self.dimensions), ends):
                key = tuple(point.items())
                if key not in seen:
                    seen.add(key)
                    yield point

    def size(self) -> int | None:
        """Return the number of different points; None when a range is continuous."""
        parents = {name for branches in self.dimensions.values() for branch in branches for name in branch.when}
        total = 0
        for point in self._expand({}, [name for name in self.dimensions if name in parents], _all_values):
            count = 1
            for name in self.dimensions:
                branch = self.active(name, point)
                if branch is not None and name not in parents:
                    size = branch.domain.size()
                    if size is None:
                        return None
                    count *= size
            total += count
        return total

    def tree(self) -> list[str]:
        """Return the space as indented text, every dimension below the value it depends on."""
        return list(self._lines(None, None, 0))

    def _lines(self, parent: str | None, value: Scalar | None, depth: int) -> Iterator[str]:
        indent = "  " * depth
        for name, branches in self.dimensions.items():
            for branch in branches:
                if any(
                    own in self.fixed and not Choice(wanted).contains(self.fixed[own])
                    for own, wanted in branch.when.items()
                ):
                    continue
                conditions = {own: wanted for own, wanted in branch.when.items() if own in self.dimensions}
                *others, nearest = conditions or [None]
                if nearest != parent or (nearest is not None and not Choice(conditions[nearest]).contains(value)):
                    continue
                extra = ", ".join(f"{own} = {' | '.join(map(str, conditions[own]))}" for own in others if own)
                yield f"{indent}{name}: {branch.domain}{f'   when {extra}' if extra else ''}"
                for choice in self._telling(name, branch.domain):
                    below = list(self._lines(name, choice, depth + 2))
                    if below:
                        yield f"{indent}  {choice}"
                        yield from below

    def _expand(
        self, point: Point, names: list[str], values: Callable[[str, Branch], Iterable[Scalar]]
    ) -> Iterator[Point]:
        if not names:
            yield point
            return
        name, *rest = names
        branch = self.active(name, point)
        if branch is None:
            yield from self._expand(point, rest, values)
            return
        for value in values(name, branch):
            yield from self._expand({**point, name: value}, rest, values)

    def _telling(self, name: str, domain: Domain) -> tuple[Scalar, ...]:
        """Return the ends of a domain of `name`, and the values in it that a condition mentions."""
        mentioned = (
            value
            for branches in self.dimensions.values()
            for branch in branches
            for value in branch.when.get(name, ())
            if domain.contains(value)
        )
        return tuple(dict.fromkeys((*domain.corners(), *mentioned)))

    def _ancestors(self, name: str) -> set[str]:
        parents = {parent for branch in self.dimensions[name] for parent in branch.when if parent in self.dimensions}
        return parents.union(*(self._ancestors(parent) for parent in parents))


def _all_values(_name: str, branch: Branch) -> Iterable[Scalar]:
    domain = branch.domain
    if isinstance(domain, Choice):
        return domain.values
    return range(int(domain.low), int(domain.high) + 1)


def _plain(value: Any, domain: Domain) -> Scalar:
    return float(value) if isinstance(domain, Float) else value


def _parse_when(raw: Any, key: str) -> dict[str, tuple[Scalar, ...]]:
    when = raw.get("when", {}) if isinstance(raw, Mapping) else {}
    if not isinstance(when, Mapping):
        raise InvalidInput(f"{key}.when: must be {{dimension: value}} or {{dimension: [values]}}, got {shown(when)}")
    conditions = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in when.items()}
    for name, values in conditions.items():
        if not isinstance(name, str):
            raise InvalidInput(f"{key}.when: must name a dimension, got {shown(name)}; quote a name that YAML reads so")
        if not values or not all(isinstance(value, str | int | float | bool) for value in values):
            raise InvalidInput(f"{key}.when.{name}: must be a value or a list of values, got {shown(when[name])}")
    return conditions


def _check_conditions(dimensions: Mapping[str, tuple[Branch, ...]], fixed: Mapping[str, Any], source: str) -> None:
    for name, branches in dimensions.items():
        for index, branch in enumerate(branches):
            for parent, values in branch.when.items():
                key = f"{source}.{name}.when.{parent}"
                if parent not in dimensions and parent not in fixed:
                    raise InvalidInput(
                        f"{key}: unknown dimension; {closest(parent, [*dimensions, *fixed])} "
                        "(a condition needs a key of `space` or `trial`)"
                    )
                possible = [other.domain for other in dimensions.get(parent, ())]
                if any(isinstance(domain, Float) for domain in possible):
                    raise InvalidInput(
                        f"{key}: must be a dimension with countable values, but {parent} is continuous; "
                        "list its values with choice"
                    )
                for value in values:
                    if possible and not any(domain.contains(value) for domain in possible):
                        allowed = " or ".join(map(str, possible))
                        raise InvalidInput(f"{key}: must be a value of {parent} ({allowed}), got {shown(value)}")
            for other in branches[:index]:
                if not branch.excludes(other):
                    raise InvalidInput(
                        f"{source}.{name}: at most one domain may apply at once, but {other.label(name)} and "
                        f"{branch.label(name)} can both; give them different values in `when`"
                    )


def _parents_first(dimensions: Mapping[str, tuple[Branch, ...]], source: str) -> list[str]:
    """Return the names in the order of the file, except that a parent precedes its children."""
    parents = {
        name: {parent for branch in branches for parent in branch.when if parent in dimensions}
        for name, branches in dimensions.items()
    }
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        raise InvalidInput(f"{source}: conditions must not go in a circle, got {' -> '.join(error.args[1])}") from None
    order: list[str] = []
    while len(order) < len(parents):
        order.append(next(name for name in parents if name not in order and parents[name] <= set(order)))
    return order


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Return parameters in one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in parameters.items())


def value_text(value: Any) -> str:
    """Return a parameter's value as text, rounded for reading."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def sample(space: SearchSpace, count: int, seed: int) -> list[Point]:
    """Draw `count` random points, the same for the same seed."""
    return list(islice(space.draws(seed), count))


def point_with(space: SearchSpace, preferred: Mapping[str, Scalar], name: str, value: Scalar) -> Point | None:
    """Return the preferred point with `value` for `name`; else a point drawn with it; None where none is found."""
    nearest = space.nearest_default({**preferred, name: value})
    drawn = (point for point in sample(space, _CANDIDATES, seed=0) if point.get(name) == value)
    return nearest if nearest is not None and nearest.get(name) == value else next(drawn, None)
