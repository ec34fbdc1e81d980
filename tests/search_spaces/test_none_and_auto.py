from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from search_spaces.none_and_auto import OrAuto, OrNone


class Settings(BaseModel):
    patience: OrNone[Annotated[int, Field(ge=1)]] = 3
    folder: OrAuto[Path] = None
    command: OrNone[str] = None


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({}, {"patience": 3, "folder": "auto", "command": "none"}),
        ({"patience": "none"}, {"patience": "none", "folder": "auto", "command": "none"}),
        ({"patience": None, "folder": "a", "command": "b"}, {"patience": "none", "folder": "a", "command": "b"}),
    ],
)
def test_a_word_is_read_as_none_and_written_back(given: dict[str, Any], written: dict[str, Any]) -> None:
    settings = Settings.model_validate(given)
    assert settings.model_dump(mode="json") == written
    assert Settings.model_validate(written) == settings


def test_a_word_is_written_to_json_alone() -> None:
    settings = Settings(patience=None)
    assert settings.model_dump() == {"patience": None, "folder": None, "command": None}
    assert settings.model_dump(mode="json", exclude_none=True) == {}


@pytest.mark.parametrize("values", [{"patience": "auto"}, {"patience": 0}, {"patience": "nothing"}])
def test_another_word_is_checked_by_the_type(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="patience"):
        Settings.model_validate(values)


def test_the_schema_allows_the_word_once() -> None:
    properties = Settings.model_json_schema()["properties"]
    assert properties["patience"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "null"}, {"const": "none"}]
    assert {"const": "auto"} in properties["folder"]["anyOf"]
    assert properties["command"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
