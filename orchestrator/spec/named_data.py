"""Data as users name them on the command line: photos, a manifest of them, or a sweep file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.spec.loading import load, load_data, state_division
from orchestrator.spec.overrides import apply_override
from orchestrator.spec.sections import Storage, cache_budget
from search_spaces.errors import InvalidInput
from search_spaces.validation import parse
from trainables.config import TrialConfig
from trainables.data.readers import division, usual_settings
from trainables.data.sources.folders import names_splits
from trainables.data.sources.formats import is_container
from trainables.data.sources.manifest_table import SPLIT_WORDS, manifest_rows
from trainables.data_config import DataConfig
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

_SWEEP_FILES = (".yaml", ".yml", ".json")
_TABLES = (".csv", ".tsv", ".txt")


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
    """Trials at the ends of the space of a sweep file; none for photos, and for what is only checked."""

    settings: tuple[str, ...] = ()
    """Names of the settings of `data` that photos need or that were given; a sweep file has all of them."""

    @property
    def is_sweep(self) -> bool:
        """True where a sweep file was named, whose settings hold as they are."""
        return bool(self.configs)


def read_named_data(
    place: Place, overrides: Sequence[str] = (), weights_dir: Place | None = None, root: Place | None = None
) -> NamedData:
    """Return the data at `place`, with overrides of the sweep file, or of `data.*` for photos.

    `weights_dir` takes the place of `data.weights_dir`, `root` that of the folder of a manifest. Photos that are not
    split are divided as `thaw init` writes it. Raises InvalidInput for a place at which there is none of them, and for
    settings that cannot be used.
    """
    if (file := _sweep_file(place, root)) is None:
        return _photos(place, overrides, weights_dir, root, _needed(place, root))
    spec = load(file, overrides)
    spec = spec.model_copy(update={"data": _with_weights(spec.data, weights_dir)})
    storage, configs = spec.storage, tuple(spec.corner_configs())
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    return NamedData(spec.data, cache, budget, configs)


def data_to_check(
    place: Place, overrides: Sequence[str] = (), weights_dir: Place | None = None, root: Place | None = None
) -> NamedData:
    """Return the data at `place` as `read_named_data` does, whatever is wrong with the images.

    Of a sweep file or a trial's file only `data` and `storage` are read.
    """
    if (file := _sweep_file(place, root)) is not None:
        config, storage = load_data(file, overrides)
        cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
        return NamedData(_with_weights(config.data, weights_dir), cache, budget)
    try:
        needed = _needed(place, root)
    except InvalidInput:  # the check finds out why
        is_split = not isinstance(place, Path) or not place.is_dir() or names_splits(place)
        needed = {} if is_split else {"split": division(has_test=False)}
    return _photos(place, overrides, weights_dir, root, needed)


def _whole(place: Place) -> Place:
    return place.absolute() if isinstance(place, Path) else place


def _with_weights(data: DataConfig, weights_dir: Place | None) -> DataConfig:
    return data if weights_dir is None else data.model_copy(update={"weights_dir": _whole(weights_dir)})


def _sweep_file(place: Place, root: Place | None) -> Path | None:
    """Return the file of a sweep or trial; None for photos. Raises InvalidInput for such a file beside a `root`."""
    if not isinstance(place, Path) or place.suffix.lower() not in _SWEEP_FILES or place.is_dir():
        return None
    if root is not None:
        raise InvalidInput(f"--root: is for a manifest, got {place}; leave it out, or set data.root with --set")
    return place


def _photos(
    place: Place, overrides: Sequence[str], weights_dir: Place | None, root: Place | None, needed: dict[str, Any]
) -> NamedData:
    weights = {} if weights_dir is None else {"weights_dir": _whole(weights_dir)}
    raw: dict[str, Any] = {"data": {**_located(place, root), **needed, **weights}}
    for override in overrides:
        apply_override(raw, override)
    if foreign := [key for key in raw if key != "data"]:
        raise InvalidInput(
            f"--set: photos have settings of `data` alone, got {foreign[0]}; name a sweep file for others"
        )
    state_division(raw)
    data = parse(DataConfig, raw["data"], str(place), lambda _: "data.", Path.cwd())
    storage = Storage()
    cache, budget = cache_folder(storage.cache_dir), cache_budget(storage.cache_budget)
    return NamedData(data, cache, budget, settings=tuple(raw["data"]))


def _located(place: Place, root: Place | None) -> dict[str, Place]:
    """Return `root`, and `manifest` where that is what was named."""
    whole = _whole(place)
    is_table = place.is_file() and not is_container(place) if isinstance(place, Path) else place.suffix in _TABLES
    if is_table:
        return {"root": root or whole.parent, "manifest": whole}
    if root is not None:
        raise InvalidInput(f"--root: is for a manifest, got {place}, which is none; leave it out")
    return {"root": whole}


def _needed(place: Place, root: Place | None) -> dict[str, Any]:
    """Return the settings of `data` with which photos can be used, beside their place."""
    located = _located(place, root)
    manifest = located.get("manifest")
    if manifest is None:
        if isinstance(place, Path) and not place.exists():
            raise InvalidInput(
                f"{place}: must be a folder of images, a manifest or a sweep file, got nothing there; check the path"
            )
        return usual_settings(located["root"], cache_folder(None))
    words = {row.split.lower() for row in manifest_rows(manifest, divided=True)}
    splits = {SPLIT_WORDS.get(word, word) for word in words}
    is_undivided = "val" not in splits and splits <= {"train", "test"}
    return {"split": division(has_test="test" in splits)} if is_undivided else {}
