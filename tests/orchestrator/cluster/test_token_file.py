import logging
import os
import stat
from pathlib import Path

import pytest

from orchestrator.cluster.token_file import protect_token


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of Ray's token file of a user who has none yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / ".ray" / "auth_token"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_token_is_private_and_the_next_call_keeps_it(token: Path) -> None:
    protect_token()
    written = token.read_text()
    assert len(bytes.fromhex(written)) == 32
    assert mode(token) == 0o600
    protect_token()
    assert token.read_text() == written
    assert list(token.parent.iterdir()) == [token]


def test_ray_reads_it(token: Path) -> None:
    from ray._private.authentication.authentication_token_setup import _get_default_token_path

    assert _get_default_token_path() == token, "Ray keeps its token elsewhere now"


def test_a_token_that_others_may_read_becomes_private(token: Path) -> None:
    token.parent.mkdir()
    token.write_text("old")
    token.chmod(0o644)
    protect_token()
    assert (token.read_text(), mode(token)) == ("old", 0o600)


def test_a_file_of_the_user_s_choice_is_warned_about(
    token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = tmp_path / "mounted"
    chosen.write_text("theirs")
    chosen.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(chosen))
    with caplog.at_level(logging.WARNING):
        protect_token()
    assert caplog.messages == [
        f"{chosen}: only its owner must be able to read the token of Ray, but its mode is -rw-r--r--"
    ]
    assert mode(chosen) == 0o644
    assert not token.exists()


def test_a_token_in_the_environment_needs_no_file(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    protect_token()
    assert not token.exists()


def test_without_a_home_the_token_is_one_of_this_process(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.devnull)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    protect_token()
    assert len(bytes.fromhex(os.environ["RAY_AUTH_TOKEN"])) == 32
