"""Schema of the sweep file as JSON schema, for editors that complete and check YAML."""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from orchestrator.spec.sweep_spec import SHARED, SweepSpec
from trainables.config import TrialConfig
from trainables.task_catalog import task_names

_SCALAR = {"type": ["string", "number", "boolean"]}
_BOUNDS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_DOMAIN = {
    "type": "object",
    "properties": {
        "choice": {"type": "array", "items": _SCALAR, "minItems": 1, "description": "One of several values."},
        "int": {**_BOUNDS, "items": {"type": "integer"}, "description": "A whole number, both ends included."},
        "float": {**_BOUNDS, "description": "A real number."},
        "log": {**_BOUNDS, "description": "A real number, uniform in its logarithm."},
        "when": {
            "type": "object",
            "additionalProperties": {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]},
            "description": "Values of other dimensions under which this domain applies.",
        },
    },
    "additionalProperties": False,
    "oneOf": [{"required": [kind]} for kind in ("choice", "int", "float", "log")],
}


def sweep_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the sweep file; `trial` and `space` list the names of TrialConfig."""
    schema = SweepSpec.model_json_schema(schema_generator=_Described)
    trial = TrialConfig.model_json_schema(schema_generator=_Described)
    settings = {name: field for name, field in trial["properties"].items() if name not in SHARED}
    dimension = {"anyOf": [{"$ref": "#/$defs/Domain"}, {"type": "array", "items": {"$ref": "#/$defs/Domain"}}]}
    properties = schema["properties"]
    properties["trial"] |= {"properties": settings, "additionalProperties": False}
    properties["space"] |= {
        "properties": {name: {**dimension, "description": field["description"]} for name, field in settings.items()},
        "additionalProperties": False,
    }
    schema["$defs"] |= {"Domain": _DOMAIN}
    properties["task"]["enum"] = task_names()
    schema["required"] = ["data"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Thaw sweep", **schema}


class _Described(GenerateJsonSchema):
    """Schema in which the docstring of a field is its description.

    Pydantic's `use_attribute_docstrings` does so too, but reads the sources whenever the models are imported.
    """

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of one model."""
        found = super().model_schema(schema)
        texts = _docstrings(schema["cls"])
        for name, field in found.get("properties", {}).items():
            if name in texts:
                field["description"] = texts[name]
        return found


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of a model's fields, by name, with those of the classes it extends."""
    texts: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if issubclass(part, BaseModel) and part is not BaseModel:
            (definition,) = ast.parse(dedent(inspect.getsource(part))).body
            assert isinstance(definition, ast.ClassDef)
            for field, below in pairwise(definition.body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        texts[name] = inspect.cleandoc(text)
    return texts
