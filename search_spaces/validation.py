"""Validation: user input becomes a pydantic type, with messages that state rule, value and remedy."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from search_spaces.errors import InvalidInput, closest, one_of, shown
from search_spaces.none_and_auto import NoneAs

Model = TypeVar("Model", bound=BaseModel)


class Frozen(BaseModel):
    """Base of the configuration types: immutable, unknown keys refused, a docstring under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_switches_for_numbers(cls, values: Any) -> Any:
        # Python counts True as 1, and so does pydantic. A validator of each field would double the time that a record
        # takes to be read.
        if not isinstance(values, Mapping):
            return values
        switches = {name: _Switch(values[name]) for name in _numbers(cls) if isinstance(values.get(name), bool)}
        return {**values, **switches} if switches else values


class _Switch:
    """A switch where a number must be: no number for pydantic, and shown as people write it."""

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return str(self.value).lower()


@cache
def _numbers(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of the fields that take numbers and no switch."""
    return frozenset(name for name, field in model.model_fields.items() if _is_number(field.annotation))


def _is_number(annotation: Any) -> bool:
    types = {annotation, *get_args(annotation)}
    return not types.isdisjoint((int, float)) and bool not in types


def parse(
    model: type[Model],
    values: Mapping[str, Any],
    source: str,
    section: Callable[[str], str] = lambda _key: "",
    base: Path | None = None,
) -> Model:
    """Validate `values` as `model`. Raises InvalidInput with one line per error: `source: dotted.key: message`.

    `section` returns the prefix of a top-level key in the user's file, e.g. `trial.`. Relative paths are resolved
    against the folder `base`.
    """
    try:
        return model.model_validate(values, context=None if base is None else {"base": base})
    except ValidationError as error:
        lines = [
            f"{source}: {_line(model, detail, section)}"
            for detail in error.errors()
            if detail["type"] not in _FOLLOWING
        ]
        raise InvalidInput("\n".join(lines)) from None


# Error types of a field whose default depends on another field that is wrong.
_FOLLOWING = ("default_factory_not_called",)


def _line(model: type[BaseModel], detail: Any, section: Callable[[str], str]) -> str:
    location = [part for part in detail["loc"] if isinstance(part, str | int)]
    key = (section(str(location[0])) if location else "") + ".".join(map(str, location))
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        fields = _fields_at(model, location[:-1])
        return f"{key}: unknown key; {closest(str(location[-1]), fields)}"
    if kind == "missing":
        return f"{key}: required, but not set; add it"
    if kind == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        # A message about a key below this one begins with a dot.
        return f"{key}{message}" if message.startswith(".") else f"{key}: {message}" if key else message
    if kind == "literal_error":
        expected = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key}: {one_of(given, [*expected, *_words_at(model, location)])}"
    if kind == "invalid_key":
        return f"{key}: a key must be a name, got {shown(given)}; quote a name that YAML reads so"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        fields = _fields_at(model, location)
        keys = f" with the keys {', '.join(fields)}" if fields else ""
        remedy = f"write {{{fields[0]}: ...}}" if fields else "write its keys below it"
        return f"{key or 'the file'}: must be a section{keys}, got {shown(given)}; {remedy}"
    context = detail.get("ctx", {})
    largest = _largest(model, location)
    if kind == "int_parsing_size" or (kind == "finite_number" and largest is not None):
        # Beyond 64 bits, and for inf, pydantic looks at no bound.
        kind, context = "less_than_equal", {"le": 2**63 - 1 if largest is None else largest}
    rule, remedy = _rule(kind, context, given)
    rule = ", or ".join([rule or detail["msg"], *_words_at(model, location)])
    return f"{key}: {rule}, got {shown(given)}; {remedy}"


def _rule(kind: str, context: Mapping[str, Any], given: Any) -> tuple[str | None, str]:
    """Return the rule that pydantic's error of this kind is about, in the words of all messages, and the remedy."""
    simple = {
        "byte_size": ("must be a number of bytes, with or without a unit", "write e.g. 20GiB"),
        "byte_size_unit": ("must be a number of bytes, with or without a unit", "write e.g. 20GiB"),
        "finite_number": ("must be a finite number", "write a number"),
        "string_type": ("must be a text", "quote a name that YAML reads as something else"),
        "list_type": ("must be a list", "write [a, b]" if not isinstance(given, str) else f"write [{shown(given)}]"),
        "path_type": ("must be a path", "write the path of a file or folder"),
    }
    if kind in simple:
        return simple[kind]
    for bound, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if bound in context:
            return f"must be {words} {_number(context[bound])}", "raise it" if bound in ("ge", "gt") else "lower it"
    for name, rule in (("int", "a whole number"), ("float", "a number"), ("bool", "true or false")):
        if kind.startswith(f"{name}_"):
            return f"must be {rule}", "write one, without quotes"
    return None, "correct it"


def _number(bound: float) -> str:
    """Return a bound with all its digits where it is a whole number: 1000000, not 1e+06."""
    return str(int(bound)) if float(bound).is_integer() and abs(bound) < 1e15 else f"{bound:g}"


def _largest(model: type[BaseModel], location: list[str | int]) -> float | None:
    """Return the largest number that the field at `location` takes; None where there is no such limit."""
    nested = _model_at(model, location[:-1])
    field = nested.model_fields.get(str(location[-1])) if nested is not None and location else None
    bounds = [getattr(mark, "le", None) for mark in ([] if field is None else field.metadata)]
    return next((bound for bound in bounds if isinstance(bound, int | float)), None)


def _fields_at(model: type[BaseModel], location: list[str | int]) -> list[str]:
    """Return the field names of the nested model at `location`, for the closest-name remedy."""
    nested = _model_at(model, location)
    return [] if nested is None else list(nested.model_fields)


def _model_at(model: type[BaseModel], location: list[str | int]) -> type[BaseModel] | None:
    current = model
    for part in location:
        field = current.model_fields.get(str(part))
        nested = _nested_model(field.annotation) if field is not None else None
        if nested is None:
            return None
        current = nested
    return current


def _words_at(model: type[BaseModel], location: list[str | int]) -> list[str]:
    """Return the word that the field at `location` takes besides its values: `none` or `auto`, if any."""
    nested = _model_at(model, location[:-1])
    field = nested.model_fields.get(str(location[-1])) if nested is not None and location else None
    return [] if field is None else [mark.word for mark in field.metadata if isinstance(mark, NoneAs)]


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
