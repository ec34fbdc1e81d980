"""YAML reader for sweep files: `1e-3` is a number, and a key given twice is a mistake."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from search_spaces.errors import InvalidInput, shown
from search_spaces.permissions import missing_permission
from search_spaces.user_files import DOCUMENT, read_user_file

# Limits of a document, far above those of any real file: an alias can make a few lines huge, or endless.
DEEPEST = 50
MOST_VALUES = 1_000_000
LARGEST_NUMBER = 10**308
LONGEST_NUMBER = 4300
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML (or JSON) file that holds one mapping. Raises InvalidInput naming the file and the place in it."""
    value = read_document(path)
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: must hold `key: value` lines, got {_kind(value)}; see `thaw init` for an example")
    return value


def read_document(path: Path) -> Any:
    """Read any YAML (or JSON) file. Raises InvalidInput naming the file and the place in it."""
    try:
        text = read_user_file(path, DOCUMENT).decode("utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"{path}: file must exist, but there is none; check the path") from None
    except PermissionError:
        raise InvalidInput(missing_permission(path)) from None
    except IsADirectoryError:
        raise InvalidInput(f"{path}: must be a readable text file, got a folder; name a file in it") from None
    except OSError as error:
        raise InvalidInput(
            f"{path}: must be a readable text file, got: {error.strerror}; check the path and its permissions"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path}: must be a readable text file in UTF-8, got other bytes (at {error.start}: {error.reason}); "
            "save it as UTF-8, or name another file"
        ) from None
    return (parse_json if path.suffix == ".json" else parse_yaml)(text, str(path))


def parse_json(text: str, source: str) -> Any:
    """Parse JSON text: YAML is almost a superset of JSON, but lacks tabs and JSON's surrogate pairs."""
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"{source}: {place}: must be valid JSON, got: {error.msg}; fix that line") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{source}: must be valid JSON, got: {error}; fix it") from None
    return _bounded(value, source)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text; `source` names it in messages."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidInput(f"{source}:{place} must be valid YAML, got: {problem}; fix that line") from None
    return _bounded(value, source)


def dump_yaml(value: Any) -> str:
    """Write plain data as YAML that `parse_yaml` reads back equal."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"key {shown(twice)} is given twice")
    return values


def _bounded(value: Any, source: str) -> Any:
    """Return `value` after a check of its size. Raises InvalidInput where it is endless, too deep, or too large.

    Aliases share one object, so a value can be far larger than its file.
    """
    problem = None
    try:
        count, height = _measure(value, 0, {})
    except OverflowError:
        problem = "numbers must be below 1e308, got a larger one; write a smaller one"
    except RecursionError:
        problem = "an alias must not lie inside of the value that it repeats, got one that does; write the value out"
    else:
        if height > DEEPEST:
            problem = f"values must be at most {DEEPEST} deep, got {height}; use fewer levels"
        if count > MOST_VALUES:
            problem = f"must hold at most {MOST_VALUES:,} values, got {count:.2g}; remove aliases that repeat others"
    if problem is not None:
        raise InvalidInput(f"{source}: {problem}")
    return value


def _measure(part: Any, level: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the number of values in `part`, and its depth. Raises RecursionError for a value that holds itself."""
    if isinstance(part, int) and abs(part) > LARGEST_NUMBER:
        raise OverflowError
    if not isinstance(part, dict | list | tuple | set):
        return 1, 0
    if id(part) not in known:
        entries = [*part, *part.values()] if isinstance(part, dict) else list(part)
        measured = [_measure(entry, level + 1, known) for entry in entries]
        known[id(part)] = (
            1 + sum(count for count, _ in measured),
            1 + max((height for _, height in measured), default=0),
        )
    return known[id(part)]


class _Loader(yaml.SafeLoader):
    merged = 0
    """Entries that merge keys have brought so far: merges of merges grow like powers."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(part, yaml.MappingNode):
                        self.flatten_mapping(part)
                        self.merged += 1 + len(part.value)
                    if self.merged > MOST_VALUES:
                        raise yaml.MarkedYAMLError(problem="merge keys repeat too much", problem_mark=key.start_mark)
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise yaml.MarkedYAMLError(
                problem=f"a number of {len(node.value):,} characters (numbers must be below 1e308)",
                problem_mark=node.start_mark,
            )
        try:
            return super().construct_object(node, deep)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):  # PyYAML's constructors check little
            kind = node.tag.rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"{shown(node.value)} is not a value of the kind {kind}", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem=f"key {shown(key)} is no name", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {shown(key)} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


# YAML 1.1, which PyYAML implements, requires a dot in a float and reads 1e-3 as a string; YAML 1.2 does not.
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
         |[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
         |\.[0-9_]+(?:[eE][-+]?[0-9]+)?
         |[-+]?\.(?:inf|Inf|INF)
         |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML folds Unicode line breaks away unless they are escaped.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
