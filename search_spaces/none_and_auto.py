"""Words of a file for the value None: `none` switches a setting off, `auto` leaves it to the program.

A key left out takes its default, which may be another value. So switching a setting off needs its own word.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class NoneAs:
    """NoneAs: marker of an optional field. `word` is read as None, None is written as `word`, the schema allows it."""

    word: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read the word before the checks of the type, and write it back after them."""
        return core_schema.no_info_before_validator_function(
            lambda value: None if value == self.word else value,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, write: self.word if value is None else write(value), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the word to the alternatives, unless one of them is any text."""
        alternatives = handler(schema)["anyOf"]
        known = {"type": "string"} in alternatives
        return {"anyOf": alternatives if known else [*alternatives, {"const": self.word}]}


OrNone = Annotated[Setting | None, NoneAs("none")]
"""Setting that the word `none` switches off."""

OrAuto = Annotated[Setting | None, NoneAs("auto")]
"""Setting that the word `auto` leaves to the program."""
