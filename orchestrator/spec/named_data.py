"""Data as users name them on the command line: a folder of photos, a manifest, or a sweep file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.spec.loading import load, state_division
from orchestrator.spec.overrides import apply_override
from orchestrator.spec.sections import Storage, cache_budget
from search_spaces.errors import InvalidInput
from search_spaces.validation import parse
from trainables.config import TrialConfig
from trainables.data.readers import division, usual_settings
from trainables.data.sources.manifest_table import SPLIT_WORDS, manifest_rows
from trainables.data_config import DataConfig
from trainables.storage.folders import cache_folder

_SWEEP_FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class NamedData:
    """NamedData: photos and the place of their cache, from whatever the user has named."""

    data: DataConfig
    """Settings of the images."""

    cache: Path
    """Node-local cache folder."""

    budget: int | None
    """Size limit of the cache, in bytes; None: half of the space its disk has for it."""

    configs: tuple[TrialConfig, ...] = ()
    """Trials at the ends of the space of a sweep file; none for photos."""

    settings: tuple[str, ...] = ()
    """Names of the settings of `data` that photos need or that were given; a sweep file has all of them."""

    @property
    def is_sweep(self) -> bool:
        """True where a sweep file was named, whose settings hold as they are."""
        return bool(self.configs)


def read_named_data(path: Path, overrides: Sequence[str] = (), weights_dir: Path | None = None) -> NamedData:
    """Return the data at `path`, with overrides of the sweep file, or of `data.*` for photos.

    `weights_dir` takes the place of `data.weights_dir`. Photos that are not split are divided as `thaw init` writes it.
    Raises InvalidInput for a path at which there is none of them, and for settings that cannot be used.
    """
    weights = {} if weights_dir is None else {"weights_dir": weights_dir.absolute()}
    if path.suffix.lower() in _SWEEP_FILES and not path.is_dir():
        spec = load(path, overrides)
        spec = spec.model_copy(update={"data": spec.data.model_copy(update=weights)})
        storage, configs = spec.storage, tuple(spec.corner_configs())
        cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
        return NamedData(spec.data, cache, budget, configs)
    raw: dict[str, Any] = {"data": {**_usual_settings(path), **weights}}
    for override in overrides:
        apply_override(raw, override)
    if foreign := [key for key in raw if key != "data"]:
        raise InvalidInput(
            f"--set: photos have settings of `data` alone, got {foreign[0]}; name a sweep file for others"
        )
    state_division(raw)
    data = parse(DataConfig, raw["data"], str(path), lambda _: "data.", Path.cwd())
    storage = Storage()
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    return NamedData(data, cache, budget, settings=tuple(raw["data"]))


def _usual_settings(path: Path) -> dict[str, Any]:
    """Return the settings of `data` with which photos can be used."""
    whole = path.absolute()
    if path.is_dir():
        return {"root": whole, **usual_settings(path)}
    if not path.is_file():
        raise InvalidInput(
            f"{path}: must be a folder of images, a manifest or a sweep file, got nothing there; check the path"
        )
    words = {row.split.lower() for row in manifest_rows(path, divided=True)}
    splits = {SPLIT_WORDS.get(word, word) for word in words}
    settings: dict[str, Any] = {"root": whole.parent, "manifest": whole}
    if "val" not in splits and splits <= {"train", "test"}:
        settings["split"] = division(has_test="test" in splits)
    return settings
