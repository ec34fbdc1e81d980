import pytest

from search_spaces.redaction import redact

ENVIRONMENT = {
    "WANDB_API_KEY": "0123456789abcdef",
    "AWS_SECRET_ACCESS_KEY": "a/b+c/d+e/f",
    "HF_TOKEN": " hf_abcdefgh\n",
    "LONG_TOKEN": "hf_abcdefgh_and_more",
    "DATABASE_URL": "postgresql://me:pass%20word1@db/runs",
    "PASSWORD": "short",
    "RAY_AUTH_MODE": "token-mode",
    "RAY_AUTH_TOKEN_PATH": "/home/me/token",
    "GREETING": "good morning",
    "BROKEN": "http://[me:longpassword@x",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key 0123456789abcdef!", "key ***!"),
        ("a/b+c/d+e/f and a%2Fb%2Bc%2Fd%2Be%2Ff", "*** and ***"),
        ("hf_abcdefgh, hf_abcdefgh_and_more", "***, ***"),
        ("password pass%20word1, decoded 'pass word1'", "password ***, decoded '***'"),
        ("http://me:secret@host:9000/x?y=1", "http://***@host:9000/x?y=1"),
        ("s3://key:p@ss@bucket/x, then https://token@host", "s3://***@bucket/x, then https://***@host"),
        ("short, token-mode, /home/me/token, good morning", "short, token-mode, /home/me/token, good morning"),
        ("http://host:8265/a@b, mail me@example.org, s3://bucket/me@home", None),
        ("", ""),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text: str, shown: str | None) -> None:
    assert redact(text, ENVIRONMENT) == (text if shown is None else shown)


def test_the_environment_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redact("planted-later") == "planted-later"
    monkeypatch.setenv("SOME_SECRET", "planted-later")
    assert redact("planted-later") == "***"
