"""Domains: the values that one dimension may take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from search_spaces.errors import InvalidInput, closest, shown

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """Choice: one of several values, unordered."""

    values: tuple[Scalar, ...]

    def contains(self, value: Any) -> bool:
        """Return whether the domain holds `value`; True and 1 are different choices."""
        return any(type(value) is type(own) and value == own for own in self.values)

    def corners(self) -> tuple[Scalar, ...]:
        """Return the values with which the domain is checked: all of them."""
        return self.values

    def size(self) -> int | None:
        """Return the number of values."""
        return len(self.values)

    def draw(self, chance: Random) -> Scalar:
        """Draw a value at random, each as likely as any other."""
        return chance.choice(self.values)

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


@dataclass(frozen=True)
class Int:
    """Int: a whole number from low to high, both included."""

    low: int
    high: int

    def contains(self, value: Any) -> bool:
        """Return whether the domain holds `value`."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def corners(self) -> tuple[Scalar, ...]:
        """Return the values with which the domain is checked: its ends."""
        return (self.low,) if self.low == self.high else (self.low, self.high)

    def size(self) -> int | None:
        """Return the number of values."""
        return self.high - self.low + 1

    def draw(self, chance: Random) -> Scalar:
        """Draw a value at random, each as likely as any other."""
        return chance.randint(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low} .. {self.high}"


@dataclass(frozen=True)
class Float:
    """Float: a real number from low to high, both included; uniform, or uniform in its logarithm."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Any) -> bool:
        """Return whether the domain holds `value`; whole numbers count as real ones."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def corners(self) -> tuple[Scalar, ...]:
        """Return the values with which the domain is checked: its ends."""
        return (self.low, self.high)

    def size(self) -> int | None:
        """Return None: the values are uncountable."""
        return None

    def draw(self, chance: Random) -> Scalar:
        """Draw a value at random, uniform, or uniform in its logarithm."""
        if not self.log:
            return chance.uniform(self.low, self.high)
        drawn = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}{' (log)' if self.log else ''}"


Domain = Choice | Int | Float

KINDS = ("choice", "int", "float", "log")


def parse_domain(raw: Any, key: str) -> Domain:
    """Read `{choice: [...]}`, `{int: [low, high]}`, `{float: [low, high]}` or `{log: [low, high]}`.

    Raises InvalidInput whose message begins with `key`, the dotted place in the file.
    """
    if not isinstance(raw, Mapping):
        raise InvalidInput(
            f"{key}: must be a domain such as {{choice: [a, b]}} or {{log: [1e-5, 1e-3]}}, got {shown(raw)}; "
            "a value that does not vary belongs under `trial`"
        )
    kinds = [name for name in raw if name != "when"]
    for name in kinds:
        if name not in KINDS:
            raise InvalidInput(f"{key}.{name}: unknown kind of domain; {closest(str(name), (*KINDS, 'when'))}")
    if len(kinds) != 1:
        raise InvalidInput(f"{key}: must have exactly one of {', '.join(KINDS)}, got {', '.join(kinds) or 'none'}")
    kind = kinds[0]
    values = raw[kind]
    if kind == "choice":
        return _choice(values, f"{key}.choice")
    low, high = _bounds(values, f"{key}.{kind}", whole=kind == "int")
    if kind == "int":
        return Int(int(low), int(high))
    if kind == "log" and low <= 0:
        raise InvalidInput(f"{key}: a log range must be above zero, got low={low:g}; raise it, or use float")
    return Float(float(low), float(high), log=kind == "log")


def _choice(values: Any, key: str) -> Choice:
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"{key}: must be a list with at least one value, got {shown(values)}; write [a, b]")
    for value in values:
        if not isinstance(value, str | int | float | bool):
            raise InvalidInput(
                f"{key}: values must be names or numbers, got {shown(value)}; quote a name that YAML reads so"
            )
    for index, value in enumerate(values):
        for earlier in values[:index]:
            # Optuna treats 1, 1.0 and true as the same choice; 1 and "1" would share the name of a branch.
            if value == earlier or str(value) == str(earlier):
                raise InvalidInput(f"{key}: values must differ, got {shown(earlier)} and {shown(value)}; remove one")
    return Choice(tuple(values))


def _bounds(values: Any, key: str, *, whole: bool) -> tuple[float, float]:
    if not isinstance(values, list) or len(values) != 2:
        raise InvalidInput(f"{key}: must be [low, high], got {shown(values)}; write two numbers")
    for value in values:
        number = isinstance(value, int) if whole else isinstance(value, int | float) and math.isfinite(value)
        if not number or isinstance(value, bool):
            kind = "whole numbers" if whole else "finite numbers"
            remedy = "write them without quotes" if isinstance(value, str) else "write [low, high]"
            raise InvalidInput(f"{key}: low and high must be {kind}, got {shown(value)}; {remedy}")
    low, high = values
    if low > high or (low == high and not whole):
        raise InvalidInput(f"{key.rpartition('.')[0]}: low must be below high, got low={low:g}, high={high:g}")
    return low, high
