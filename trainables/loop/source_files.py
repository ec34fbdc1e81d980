"""Files beside the images on which the result of a trial depends: its weights and its teacher."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path

from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig
from trainables.data.sources.bucket_file import local_file
from trainables.loop.teacher import teacher_file
from trainables.model.weights import weights_files
from trainables.storage.place import Place


def source_digests(configs: Iterable[TrialConfig]) -> dict[str, str]:
    """Return the SHA-256 (hex digits) of each file of weights and of each teacher that the trials read, by its path.

    Weights of timm's hub are not among them. Raises InvalidInput for a file that is missing.
    """
    files = {str(file): file for config in configs for file in _source_files(config)}
    return {name: _digest_of(file) for name, file in sorted(files.items())}


def check_sources(configs: Iterable[TrialConfig], known: Mapping[str, str]) -> None:
    """Raise InvalidInput where a file has other content than the `known` one; a file that is not known may have any."""
    for path, digest in source_digests(configs).items():
        if known.get(path, digest) != digest:
            raise InvalidInput(
                f"{path}: weights and teachers must be the same in every trial of a run, but this file has changed "
                "since it began; restore it, or start a new run"
            )


def weights_digests(config: TrialConfig) -> tuple[str, ...]:
    """Return the SHA-256 (hex digits) of each file that the weights of a trial are read from; none of timm's hub.

    Raises InvalidInput for a file that is missing.
    """
    return tuple(map(_digest_of, weights_files(config)))


def _source_files(config: TrialConfig) -> Iterator[Place]:
    yield from weights_files(config)
    teacher = teacher_file(config)
    if teacher is not None:
        yield teacher


def _digest_of(file: Place) -> str:
    try:
        local = local_file(file)
        stat = local.stat()
        return _digest(local, stat.st_size, stat.st_mtime_ns, stat.st_ino)
    except OSError as error:
        raise InvalidInput(
            f"{file}: weights and teachers must be readable files, got: {error.strerror or error}; correct the path"
        ) from error


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, modified: int, inode: int) -> str:
    """Read a file once, unless it has changed."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
