"""YAML reader for sweep files: `1e-3` is a number, and a key given twice is a mistake."""

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from search_spaces.errors import InvalidInput
from search_spaces.permissions import missing_permission


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML (or JSON) file that holds one mapping. Raises InvalidInput naming the file and the place in it."""
    value = read_document(path)
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: must hold `key: value` lines, got {_kind(value)}; see `thaw init` for an example")
    return value


def read_document(path: Path) -> Any:
    """Read any YAML (or JSON) file. Raises InvalidInput naming the file and the place in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput(f"{path}: file must exist, but there is none; check the path") from None
    except PermissionError:
        raise InvalidInput(missing_permission(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: must be a readable text file, got {error}") from None
    return (parse_json if path.suffix == ".json" else parse_yaml)(text, str(path))


def parse_json(text: str, source: str) -> Any:
    """Parse JSON text: YAML is almost a superset of JSON, but lacks tabs and JSON's surrogate pairs."""
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"{source}: {place}: must be valid JSON, got: {error.msg}; mend that line") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{source}: must be valid JSON, got: {error}; mend it") from None


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text; `source` names it in messages."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidInput(f"{source}:{place} must be valid YAML, got: {problem}; mend that line") from None


def dump_yaml(value: Any) -> str:
    """Write plain data as YAML that `parse_yaml` reads back equal."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"key {twice!r} is given twice")
    return values


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is no name", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
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
