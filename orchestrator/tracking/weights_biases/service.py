"""The service of W&B: its address, its key, and what is said where it fails."""

import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pydantic import ValidationError

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.isolated_tracker import Client, OutputSigns, describe_outage
from search_spaces.errors import InvalidInput, ThawError, one_of
from search_spaces.shell import thaw_command

NAME = "W&B"

# The client's own limit for one request; a call of the tracker makes up to two.
REQUEST_SECONDS = 11.0

# The client reports in its output alone that the service has refused records: the run finishes without an error.
CLIENT = Client("wandb", OutputSigns(failure="Fatal error while uploading data", reason=r"\b[45]\d\d encountered"))


# W&B's own modes; two of them are old names.
_MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}


def resolve_mode(settings: Wandb) -> str:
    """Return online, offline or disabled: `auto` follows `$WANDB_MODE`, else it is online when a key is configured.

    Raises InvalidInput when the variable has another value.
    """
    if settings.mode != "auto":
        return settings.mode
    named = os.environ.get("WANDB_MODE")
    if not named:
        return "online" if has_key() else "offline"
    if named not in _MODES:
        raise InvalidInput(f"$WANDB_MODE: {one_of(named, _MODES)}")
    return _MODES[named]


def check_sending() -> None:
    """Raise InvalidInput where a command that sends to W&B cannot: it is switched off, or there is no key.

    The mode in the sweep file is for the sweep: who types the command wants it sent.
    """
    if resolve_mode(Wandb()) == "disabled":
        raise InvalidInput("$WANDB_MODE: must not be disabled for a command that sends to W&B, got it; unset it")
    if not has_key():
        raise InvalidInput(f"{NAME}: needs a key, found none; set WANDB_API_KEY, or run `wandb login`")


def has_key() -> bool:
    """Return whether a W&B key is configured: by environment, or by `wandb login`, which keeps it in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(service_address()).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def service_address() -> str:
    """Return the address of the service."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def check_address() -> None:
    """Raise InvalidInput where `$WANDB_BASE_URL` is no address."""
    parts = urlsplit(service_address())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("$WANDB_BASE_URL: must be an address http(s)://..., got another text; correct or unset it")


def outage(error: Exception) -> str:
    """Return what went wrong with the service, in one phrase without secrets."""
    return describe_outage(service_address(), error)


def explain_outage(error: Exception, run: RunFolder) -> str:
    """Return the message to users that W&B is offline from now on."""
    return (
        f"{NAME}: {outage(error)}; the rest is recorded offline in {run.wandb}, "
        f"send it later with: {thaw_command('wandb', 'sync', run.root)}"
    )


# What the client says of a key that is none, or that the service does not know.
_REFUSED = ("API key", "not logged in", "PERMISSION_ERROR")


@contextmanager
def service_errors(advice: str = "try again later") -> Iterator[None]:
    """Turn an error of the client into one message, which ends with the advice.

    Raises InvalidInput where a key or a variable is wrong, else ThawError.
    """
    try:
        yield
    except ThawError:
        raise
    except ValidationError as error:  # the client reads its variables with pydantic
        wrong = error.errors()[0]
        name = "_".join(str(part) for part in wrong["loc"]).upper()
        raise InvalidInput(f"$WANDB_{name}: {wrong['msg']}; correct the variable") from None
    except Exception as error:  # the client raises its own errors, and those of the network
        if any(sign in str(error) for sign in _REFUSED):
            advice = "check the key: WANDB_API_KEY, or that of `wandb login`"
            raise InvalidInput(f"{NAME}: {outage(error)}; {advice}") from None
        raise ThawError(f"{NAME}: {outage(error)}; {advice}") from error
