"""Validation: user input becomes a pydantic type, with messages that state rule, value and remedy."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from search_spaces.errors import InvalidInput, closest

Model = TypeVar("Model", bound=BaseModel)


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
    if detail["type"] == "extra_forbidden":
        fields = _fields_at(model, location[:-1])
        return f"{key}: unknown key; {closest(str(location[-1]), fields)}"
    if detail["type"] == "missing":
        return f"{key}: required, but not set; add it"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "literal_error":
        expected = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        given = detail["input"]
        return f"{key}: must be one of {', '.join(expected)}, got {given!r}; {closest(str(given), expected)}"
    if detail["type"] in ("byte_size", "byte_size_unit"):
        return f"{key}: must be a number of bytes, with or without a unit, got {detail['input']!r}; write e.g. 20GiB"
    if detail["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}, got {detail['input']!r}"


def _fields_at(model: type[BaseModel], location: list[str | int]) -> list[str]:
    """Return the field names of the nested model at `location`, for the closest-name remedy."""
    current = model
    for part in location:
        field = current.model_fields.get(str(part))
        nested = _nested_model(field.annotation) if field is not None else None
        if nested is None:
            return []
        current = nested
    return list(current.model_fields)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
