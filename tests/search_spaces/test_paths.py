from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from search_spaces.errors import InvalidInput
from search_spaces.none_and_auto import OrNone
from search_spaces.paths import FromFile, PathFromFile
from search_spaces.validation import parse


class Paths(BaseModel):
    folder: PathFromFile | None = None
    files: OrNone[list[PathFromFile]] = None
    weights: Annotated[str, FromFile(words=("pretrained",))] = "pretrained"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"folder": "a/b", "files": ["c", "/d"]}, Paths(folder=Path("/base/a/b"), files=[Path("/base/c"), Path("/d")])),
        ({"folder": "~/a"}, Paths(folder=Path("/home/ada/a"))),
        ({"files": "none", "weights": "pretrained"}, Paths()),
        ({"folder": "none", "weights": "w.pt"}, Paths(folder=Path("/base/none"), weights="/base/w.pt")),
    ],
)
def test_a_path_starts_from_the_folder_of_its_file(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], read: Paths
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert parse(Paths, given, "test", base=Path("/base")) == read


@pytest.mark.parametrize("given", ["Image_Net", "imagenet", True, None])
def test_a_word_of_another_tool_is_named_with_the_one_that_is_meant(given: Any) -> None:
    class Words(BaseModel):
        weights: Annotated[
            str, FromFile(("pretrained", "none"), (("imagenet", "yes"), ("true", "yes"), ("none", "no")))
        ]

    with pytest.raises(
        InvalidInput, match=r"weights: must be pretrained, none or a path, got .*; did you mean (yes|no)"
    ):
        parse(Words, {"weights": given}, "test", base=Path("/base"))
    assert parse(Words, {"weights": "./imagenet"}, "test", base=Path("/base")).weights == "/base/imagenet"


def test_a_record_has_no_base() -> None:
    assert parse(Paths, {"folder": "a", "weights": "w.pt"}, "test") == Paths(folder=Path("a"), weights="w.pt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"folder": "s3://b/a"},
            r"^test: folder: must be a path of this machine, got 's3://b/a'; only photos, runs and weights_dir may lie",
        ),
        ({"files": ["a", "s3://b"]}, r"^test: files\.1: must be a path of this machine"),
        ({"folder": "~no-such-user/a"}, r"^test: folder: must be a path, got '~no-such-user/a': .*; write it out$"),
        ({"folder": 3}, r"^test: folder: must be a path"),
    ],
)
def test_another_value_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(Paths, given, "test", base=Path("/base"))
