import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search_spaces.errors import StorageFailed
from trainables.config import TrialConfig
from trainables.data.sources import bucket_file
from trainables.data.sources.bucket_file import local_file, use_cache
from trainables.storage.bucket import BucketPath


@pytest.fixture(autouse=True)
def no_memory() -> Iterator[None]:
    """Forget the files that other tests have fetched, and later those of these tests."""
    bucket_file._copies.clear()
    bucket_file._caches.clear()
    yield
    bucket_file._copies.clear()
    bucket_file._caches.clear()


@pytest.fixture
def gets(s3_log: Path, bucket: str) -> Callable[[str], int]:
    """Number of GET requests for an object of the bucket."""
    begin = f"GET /{bucket.removeprefix('s3://')}/"
    return lambda key: s3_log.read_text().count(f"{begin}{key} ")


def test_a_file_on_this_machine_is_itself(tmp_path: Path) -> None:
    assert local_file(tmp_path / "a") == tmp_path / "a"


def test_an_object_is_fetched_once_per_node_and_version(
    bucket: str,
    gets: Callable[[str], int],
    trial_config: Callable[..., TrialConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = BucketPath.parse(f"{bucket}/weights/a.safetensors")
    place.write_bytes(b"one")
    use_cache(trial_config(data={"weights_dir": f"{bucket}/weights"}).data, tmp_path)
    path = local_file(place)
    assert path.read_bytes() == b"one"
    assert path.is_relative_to(tmp_path)
    assert local_file(place) == path
    # Another process of the node, whose usual cache folder this is.
    again = f"import sys; from trainables.data.sources.bucket_file import *; {FETCH}"
    monkeypatch.setenv("THAW_CACHE_DIR", str(tmp_path))
    told = subprocess.run(
        [sys.executable, "-c", again, str(place)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert told.stdout.strip() == str(path)
    assert gets("weights/a.safetensors") == 1
    place.write_bytes(b"two")
    assert local_file(place).read_bytes() == b"one"
    monkeypatch.setattr(bucket_file, "_SECONDS", -1.0)
    bucket_file._copies.clear()
    assert local_file(place).read_bytes() == b"two"
    assert gets("weights/a.safetensors") == 2


FETCH = "print(local_file(BucketPath.parse(sys.argv[1])))"


def test_what_is_not_there_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THAW_CACHE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        local_file(BucketPath.parse(f"{bucket}/none.safetensors"))
    monkeypatch.setenv("THAW_CACHE_DIR", "/proc/none")
    place = BucketPath.parse(f"{bucket}/a.csv")
    place.write_bytes(b"one")
    with pytest.raises(StorageFailed, match=r"/proc/none.*cache must be writable"):
        local_file(place)
