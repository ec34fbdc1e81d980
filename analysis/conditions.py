"""Conditions on trials: `architecture=resnet18 and lr>1e-3`, asked of a leaderboard's rows by the names in them.

    condition  = terms joined by `or`, each of them conditions joined by `and`, with `not` and parentheses
    comparison = NAME = | != | < | <= | > | >= VALUE

Names and values with spaces stand in quotes. A row that lacks the name fulfils no comparison with it.
"""

import operator
import re
from collections.abc import Callable, Mapping, Set
from typing import Any, TypeGuard

from search_spaces.documents import parse_yaml
from search_spaces.errors import InvalidInput, closest, shown

Condition = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<sign><=|>=|!=|==|[=<>()])
    |"(?P<double>[^"]*)"
    |'(?P<single>[^']*)'
    |(?P<word>[^\s=<>!()"'][^\s=<>!()]*))""",
    re.VERBOSE,
)
_EQUAL = {"=": True, "==": True, "!=": False}
_ORDERED: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DEEPEST = 50
_EXAMPLE = 'write for instance "architecture=resnet18 and lr>1e-3"'


def parse_condition(text: str, names: Set[str], source: str) -> Condition:
    """Return the condition that a text states about rows with these names.

    Raises InvalidInput, naming `source`, for a text of another form, an unknown name, or an order among texts.
    """
    parser = _Parser(_tokens(text, source), text, names, source)
    condition = parser.alternatives()
    parser.end()
    return condition


def _tokens(text: str, source: str) -> list[tuple[str, str]]:
    """Return pairs of a kind (sign, word, quoted) and a text."""
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidInput(f"{source}: must be comparisons, got {shown(text[position:].strip())}; {_EXAMPLE}")
        kind = match.lastgroup or ""
        tokens.append(("quoted" if kind in ("double", "single") else kind, match[kind]))
        position = match.end()
    return tokens


class _Parser:
    """_Parser: reads a list of tokens from left to right, one method for each rule of the grammar."""

    def __init__(self, tokens: list[tuple[str, str]], text: str, names: Set[str], source: str) -> None:
        self._tokens, self._text, self._names, self._source = tokens, text, names, source
        self._position = 0
        self._depth = 0

    def alternatives(self) -> Condition:
        parts = [self._all()]
        while self._takes("word", "or"):
            parts.append(self._all())
        return lambda row: any(part(row) for part in parts)

    def end(self) -> None:
        if self._position < len(self._tokens):
            raise self._unexpected("`and` or `or`")

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._takes("word", "and"):
            parts.append(self._one())
        return lambda row: all(part(row) for part in parts)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidInput(
                f"{self._source}: must nest `not` and parentheses at most {_DEEPEST} deep, got more; leave some out"
            )
        if self._takes("word", "not"):
            found = self._negation()
        elif self._takes("sign", "("):
            found = self._enclosed()
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _negation(self) -> Condition:
        inner = self._one()
        return lambda row: not inner(row)

    def _enclosed(self) -> Condition:
        inner = self.alternatives()
        if not self._takes("sign", ")"):
            raise self._unexpected("a closing parenthesis")
        return inner

    def _comparison(self) -> Condition:
        name = self._next(("word", "quoted"), "a name")[1]
        if name not in self._names:
            raise InvalidInput(f"{self._source}: unknown name {shown(name)}; {closest(name, sorted(self._names))}")
        sign = self._next(("sign",), "a comparison")[1]
        if sign not in {*_EQUAL, *_ORDERED}:
            self._position -= 1
            raise self._unexpected("=, !=, <, <=, > or >=")
        kind, text = self._next(("word", "quoted"), "a value")
        value = text if kind == "quoted" else _plain(text)
        if sign in _EQUAL:
            wanted = _EQUAL[sign]
            return lambda row: name in row and _equals(row[name], value, text) is wanted
        if not _is_number(value):
            raise InvalidInput(
                f"{self._source}: {name}: must be compared with a number by {sign}, got {shown(text)}; use = or !="
            )
        return lambda row: _is_number(row.get(name)) and _ORDERED[sign](row[name], value)

    def _takes(self, kind: str, text: str) -> bool:
        found = self._tokens[self._position : self._position + 1] == [(kind, text)]
        self._position += found
        return found

    def _next(self, kinds: tuple[str, ...], wanted: str) -> tuple[str, str]:
        if self._position == len(self._tokens) or self._tokens[self._position][0] not in kinds:
            raise self._unexpected(wanted)
        self._position += 1
        return self._tokens[self._position - 1]

    def _unexpected(self, wanted: str) -> InvalidInput:
        rest = self._tokens[self._position :]
        got = shown(rest[0][1]) if rest else "the end"
        return InvalidInput(f"{self._source}: must have {wanted} after what it can read, got {got}; {_EXAMPLE}")


def _plain(text: str) -> Any:
    """Return a value as a sweep file has it: 1e-3 is a number; what is no YAML is a text."""
    try:
        return parse_yaml(text, "value")
    except InvalidInput:
        return text


def _equals(found: Any, value: Any, text: str) -> bool:
    if _is_number(found) and _is_number(value):
        return bool(found == value)
    if found is None:
        return value is None or text == "none"
    return found == value or (isinstance(found, str) and found == text)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
