import os
import stat
from pathlib import Path

import pytest

from orchestrator.cluster import session_folder as module
from orchestrator.cluster.session_folder import KEPT_SESSIONS, LOCK_FILE, session_folder, user_folder
from search_spaces.errors import ThawError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of this user's sessions, below a temporary folder of its own; it does not exist yet."""
    # A folder of pytest's is too long for the paths of sockets.
    monkeypatch.setattr(module, "LONGEST_SOCKET", 1000)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path / f"thaw-{os.geteuid()}"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_it_is_private_whatever_the_umask(place: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        with session_folder() as folder:
            assert folder.parent == place
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
    finally:
        os.umask(former)


def test_a_folder_that_was_open_to_others_is_closed(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)
    with session_folder():
        assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_link_that_another_user_has_put_there_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    place.symlink_to(tmp_path / "theirs")
    with pytest.raises(
        ThawError, match=r"must belong to this user .* got a link or file of .*; delete it, or set RAY_"
    ):
        session_folder().__enter__()
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_a_folder_of_another_user_is_refused(place: Path) -> None:
    place.mkdir()
    os.chown(place, 65534, 65534)
    with pytest.raises(ThawError, match=r"must belong to this user \(uid 0\), got a folder of nobody"):
        session_folder().__enter__()


def test_the_newest_are_kept_and_what_is_in_use_is_never_deleted(place: Path) -> None:
    with session_folder() as used:
        os.utime(used, (0, 0))
        for number in range(KEPT_SESSIONS + 2):
            with session_folder() as folder:
                (folder / "logs").mkdir()
            os.utime(folder, (number + 1, number + 1))
        with session_folder() as newest:
            left = {path.name for path in place.iterdir() if path.is_dir()}
            assert {used.name, newest.name, folder.name} <= left
            assert len(left) == KEPT_SESSIONS + 1
    with session_folder():
        assert not used.exists(), "its lock is released, and it is old"


def test_paths_of_sockets_are_short_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with session_folder() as folder:
        assert folder.parent == Path(f"/tmp/thaw-{os.geteuid()}")
    assert len(f"{folder}{module._SOCKET}") <= 103


def test_the_folder_of_a_user_has_nothing_but_the_lock_of_its_sessions(place: Path) -> None:
    assert user_folder() == place
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert [*place.iterdir()] == []
    with session_folder():
        assert (place / LOCK_FILE).is_file()
