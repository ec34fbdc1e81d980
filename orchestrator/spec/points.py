"""Settings and points of a sweep file, before they become the configuration of a trial."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from search_spaces.documents import read_document
from search_spaces.errors import InvalidInput
from search_spaces.paths import FromFile
from trainables.config import TrialConfig

# Settings that are paths, as TrialConfig marks them.
_PATHS = {
    name: marker
    for name, field in TrialConfig.model_fields.items()
    for marker in field.metadata
    if isinstance(marker, FromFile)
}


Settings = Annotated[dict[str, Any], BeforeValidator(lambda value, info: _resolve(value, info))]
"""Names and values of settings, or their domains; checked by TrialConfig and SearchSpace, except for their paths."""


class PointsFile:
    """PointsFile: marker of a list of points that may also be the name of a YAML or JSON file that holds one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read the file before the checks of the type."""
        return core_schema.with_info_before_validator_function(_read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow a text as an alternative to the list."""
        return {"anyOf": [handler(schema), {"type": "string"}]}


Points = Annotated[list[Settings], PointsFile()]
"""Configurations to try, each a mapping of settings."""


def _resolve(value: Any, info: ValidationInfo) -> Any:
    """Resolve the paths among settings: a setting's, a domain's, a condition's, a point's."""
    if isinstance(value, list):
        return [_resolve(entry, info) for entry in value]
    if not isinstance(value, dict):
        return value
    resolved = {}
    for key, entry in value.items():
        marker = _PATHS.get(key) if isinstance(key, str) else None
        resolved[key] = _resolve(entry if marker is None else _resolve_values(entry, key, marker, info), info)
    return resolved


def _resolve_values(value: Any, key: str, marker: FromFile, info: ValidationInfo) -> Any:
    """Resolve the values of a setting that is a path: one, a list of them, or the `choice` of a domain."""
    match value:
        case list():
            return [_resolve_values(entry, key, marker, info) for entry in value]
        case dict():
            return {
                name: _resolve_values(entry, key, marker, info) if name == "choice" else entry
                for name, entry in value.items()
            }
    try:
        return marker.resolve(value, info)
    except ValueError as error:
        raise ValueError(f".{key}: {error}") from None


def _read(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    path = Path(FromFile().resolve(value, info))
    points = read_document(path)
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InvalidInput(f"search.points: {path} must hold a list of points, e.g. `- {{lr: 1e-3}}`; fix it")
    return points
