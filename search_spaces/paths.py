"""Paths in a file: relative to the folder of that file, wherever the program is started.

`parse` gets the folder as `base`. Without a base, as for a record of a run, a path is used as written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class FromFile:
    """FromFile: marker of a field that is a path relative to the file's folder, unless it is one of `words`."""

    words: tuple[str, ...] = ()

    def resolve(self, value: Any, info: ValidationInfo) -> Any:
        """Join the base and a text that is a path. Raises ValueError for an address and for an unknown home."""
        base = base_folder(info)
        return value if base is None or not isinstance(value, str) or value in self.words else str(_under(base, value))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Resolve the value before the checks of the type."""
        return core_schema.with_info_before_validator_function(self.resolve, handler(source))


PathFromFile = Annotated[Path, FromFile()]
"""Path of this machine, relative to the folder of the file that holds it."""


def base_folder(info: ValidationInfo) -> Path | None:
    """Return the folder against which this validation resolves paths."""
    return None if info.context is None else info.context["base"]


def _under(base: Path, value: str) -> Path:
    if "://" in value:
        raise ValueError(f"must be a path of this machine, got {value!r}; only a run may lie in a bucket, storage.root")
    try:
        return base / Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"must be a path, got {value!r}: {error}; write it out") from None
