import logging
from pathlib import Path

import pytest

from orchestrator.serve.access_token import AccessToken, read_token
from search_spaces.errors import InvalidInput

TOKEN = "0123456789abcdef"


def test_a_token_matches_itself_alone() -> None:
    token = AccessToken(TOKEN, "here")
    assert token.matches(TOKEN)
    for other in (None, "", TOKEN[:-1], TOKEN + "0", "\xe9"):
        assert not token.matches(other)


@pytest.mark.parametrize("text", ["", "short", "with a space in it", "ünicode-ünicode-ünicode", "line\nfeed-line-feed"])
def test_a_token_must_be_long_and_fit_into_a_header(text: str) -> None:
    with pytest.raises(InvalidInput, match="here: must hold a token of"):
        AccessToken(text, "here")


def test_it_is_read_from_a_file_or_the_environment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_token(None, {}) is None
    named = read_token(None, {"THAW_DASHBOARD_TOKEN": f"{TOKEN}\n"})
    assert named is not None
    assert named.matches(TOKEN)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}1\n")
    file.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        first = read_token(file, {"THAW_DASHBOARD_TOKEN": TOKEN})
        assert first is not None
        assert first.matches(f"{TOKEN}1")
        assert caplog.messages == []
        file.chmod(0o644)
        read_token(file, {})
    assert caplog.messages == [f"{file}: only its owner must be able to read the token, but its mode is -rw-r--r--"]


def test_a_file_must_be_there(tmp_path: Path) -> None:
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput, match="--token-file: must be a readable text file"):
            read_token(wrong, {})
    with pytest.raises(InvalidInput, match=r"\$THAW_DASHBOARD_TOKEN: must hold a token of at least 16"):
        read_token(None, {"THAW_DASHBOARD_TOKEN": ""})
