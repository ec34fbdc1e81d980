import os
from pathlib import Path
from typing import Any

import pytest
import wandb

from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.configured_trackers import check_trackers
from orchestrator.tracking.weights_biases.service import (
    check_address,
    check_sending,
    has_key,
    resolve_mode,
    service_errors,
)
from search_spaces.errors import InvalidInput, ThawError


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize("mode", ["online", "offline", "disabled"])
def test_a_mode_that_is_set_is_kept(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled" if mode == "online" else "online")
    assert resolve_mode(Wandb(mode=mode)) == mode


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "x" * 40}, "online"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "x" * 40}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_MODE": "dryrun", "WANDB_API_KEY": "x" * 40}, "offline"),
        ({"WANDB_MODE": "", "WANDB_API_KEY": "x" * 40}, "online"),
    ],
)
def test_auto_follows_the_environment_then_the_key(
    environment: dict[str, str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert resolve_mode(Wandb()) == mode


def test_a_key_of_wandb_login_counts(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {'y' * 40}\n")
    (tmp_path / "netrc").chmod(0o600)
    assert resolve_mode(Wandb()) == "online"
    (tmp_path / "netrc").write_text("machine other.example\n  login user\n  password y\n")
    assert not has_key()


def test_an_error_of_the_client_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://ada:secret@wandb.example")
    with pytest.raises(ThawError, match=r"^W&B: .*wandb\.example.*; wait$") as error, service_errors("wait"):
        raise ConnectionError("out of reach")
    assert "secret" not in str(error.value)
    with pytest.raises(InvalidInput, match="ours"), service_errors("wait"):
        raise InvalidInput("ours")


@pytest.mark.parametrize("text", ["API key must have 40+ characters", "user is not logged in"])
def test_a_key_that_is_refused_is_not_tried_again(text: str) -> None:
    advice = r"; check the key: WANDB_API_KEY, or that of `wandb login`$"
    with pytest.raises(InvalidInput, match=advice), service_errors():
        raise ValueError(text)


@pytest.mark.parametrize(("name", "value"), [("WANDB_MODE", "whatever"), ("WANDB_BASE_URL", "garbage")])
def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=rf"^\${name}: must be"):
        check_sending()
        check_address()
    field = name.removeprefix("WANDB_").lower()
    with pytest.raises(InvalidInput, match=rf"^\${name}: "), service_errors():
        wandb.Settings(**{field: value})
    with pytest.raises(InvalidInput, match=rf"^\${name}: must be"):
        check_trackers(Tracking())
