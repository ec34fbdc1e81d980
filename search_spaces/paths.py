"""Paths in a file: relative to the folder of that file, wherever the program is started.

`parse` gets the folder as `base`. Without a base, as for a record of a run, a path is used as written.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from search_spaces.errors import InvalidInput, shown

# Limits of Linux, in bytes; other systems allow no more.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


@dataclass(frozen=True)
class FromFile:
    """FromFile: marker of a field that is a path relative to the file's folder, unless it is one of `words`."""

    words: tuple[str, ...] = ()

    mistaken: tuple[tuple[str, str], ...] = ()
    """Words of other tools, in small letters and digits, each with the one of `words` that is meant."""

    def resolve(self, value: Any, info: ValidationInfo) -> Any:
        """Join the base and a text that is a path.

        Raises ValueError for an address, for an unknown home, and for a word of another tool.
        """
        base = base_folder(info)
        if base is None or value in self.words:
            return value
        meant = dict(self.mistaken).get(re.sub(r"[\s_-]", "", str(value).lower()))
        if meant is not None:
            raise ValueError(
                f"must be {', '.join(self.words)} or a path, got {shown(value)}; did you mean {meant}? A file of this "
                "name is written with ./ before it"
            )
        return str(_under(base, value)) if isinstance(value, str) else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Resolve the value before the checks of the type."""
        return core_schema.with_info_before_validator_function(self.resolve, handler(source))


PathFromFile = Annotated[Path, FromFile()]
"""Path of this machine, relative to the folder of the file that holds it."""


def base_folder(info: ValidationInfo) -> Path | None:
    """Return the folder against which this validation resolves paths."""
    return None if info.context is None else info.context["base"]


def check_path(text: str) -> str:
    """Return a path as it is given. Raises InvalidInput where no file system could hold it."""
    problem, encoded = None, b""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        problem = "a path must consist of whole characters"
    if "\0" in text:
        problem = "a path must not hold a NUL character"
    elif max(map(len, encoded.split(b"/"))) > _LONGEST_NAME:
        problem = f"each name in a path must have at most {_LONGEST_NAME} bytes"
    elif len(encoded) > _LONGEST_PATH:
        problem = f"a path must have at most {_LONGEST_PATH} bytes"
    if problem is not None:
        raise InvalidInput(f"{problem}, got {shown(text)}; choose another")
    return text


def as_path(text: str | Path) -> Path:
    """Return the path that an argument of the command line names. Raises InvalidInput where there can be no such."""
    return Path(check_path(str(text)))


def _under(base: Path, value: str) -> Path:
    if "://" in value:
        raise ValueError(
            f"must be a path of this machine, got {shown(value)}; only photos, runs and "
            "weights_dir may lie in a bucket: data.root, data.manifest, data.weights_dir, storage.root"
        )
    try:
        path = as_path(base / Path(value).expanduser())
        str(path).encode()
        return path
    except InvalidInput as error:
        raise ValueError(str(error)) from None
    except UnicodeEncodeError:
        raise ValueError(f"must be a path in UTF-8, got {shown(str(path))}; rename the folder") from None
    except RuntimeError as error:
        raise ValueError(f"must be a path, got {shown(value)}: {error}; write it out") from None
