"""Single files of a bucket on a node: weights and manifests, copied once below the cache folder.

The bucket is asked again after a minute whether the file is still the one that was copied.
"""

import logging
import time
from pathlib import Path
from typing import NamedTuple

from trainables.data.sources.node_copy import copied_once, inner_parts
from trainables.data_config import DataConfig
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place

log = logging.getLogger(__name__)

_SECONDS = 60.0
"""Seconds for which a process takes its copy for the newest version."""


class _Copy(NamedTuple):
    path: Path
    until: float


_caches: dict[BucketPath, Path] = {}
_copies: dict[BucketPath, _Copy] = {}


def use_cache(data: DataConfig, cache: Path) -> None:
    """Copy the manifest and the weights of a data set below `cache` from now on, not below the usual cache folder.

    Models are built where no cache is known, so the process has to remember it.
    """
    for place in (data.manifest, data.weights_dir):
        if isinstance(place, BucketPath):
            _caches[place] = cache


def local_file(place: Place) -> Path:
    """Return the path of a file on this machine; one in a bucket is copied, once per node and version.

    Raises FileNotFoundError where a bucket has no such file, StorageFailed where the bucket or the cache cannot be
    used.
    """
    if isinstance(place, Path):
        return place
    known = _copies.get(place)
    if known is None or known.until < time.monotonic() or not known.path.is_file():
        known = _copies[place] = _Copy(_copied(place), time.monotonic() + _SECONDS)
    return known.path


def _copied(place: BucketPath) -> Path:
    found = place.found()
    cache = _caches.get(place) or _caches.get(place.parent) or cache_folder(None)
    name = Path(*inner_parts(str(place.parent), found.name))

    def fill(folder: Path) -> None:
        log.info("%s: fetching %d KiB into %s, once per node", place, found.size // 1024, cache)
        place.parent.fetch(found, folder / name)

    folder, _ = copied_once(cache, place, ["file", found.size, found.etag], found.size, fill)
    return folder / name
