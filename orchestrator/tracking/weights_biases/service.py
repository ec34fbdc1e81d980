"""The service of W&B: its address, its key, and what is said where it fails."""

import netrc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Wandb
from orchestrator.tracking.isolated_tracker import OutputSigns, describe_outage
from search_spaces.errors import ThawError
from search_spaces.shell import thaw_command

NAME = "W&B"

# The client's own limit for one request; a call of the tracker makes up to two.
REQUEST_SECONDS = 11.0

# The client reports in its output alone that the service has refused records: the run finishes without an error.
SIGNS = OutputSigns(failure="Fatal error while uploading data", reason=r"\b[45]\d\d encountered")


def resolve_mode(settings: Wandb) -> str:
    """Return online, offline or disabled: `auto` is online when a key is configured."""
    if settings.mode != "auto":
        return settings.mode
    environment = os.environ.get("WANDB_MODE")
    if environment in ("online", "offline", "disabled"):
        return environment
    return "online" if has_key() else "offline"


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


def outage(error: Exception) -> str:
    """Return what went wrong with the service, in one phrase without secrets."""
    return describe_outage(service_address(), error)


def explain_outage(error: Exception, run: RunFolder) -> str:
    """Return the message to users that W&B is offline from now on."""
    return (
        f"{NAME}: {outage(error)}; the rest is recorded offline in {run.wandb}, "
        f"send it later with: {thaw_command('wandb', 'sync', run.root)}"
    )


@contextmanager
def service_errors(advice: str = "try again later") -> Iterator[None]:
    """Turn an error of the client into one message, which ends with the advice."""
    try:
        yield
    except ThawError:
        raise
    except Exception as error:  # the client raises its own errors, and those of the network
        raise ThawError(f"{NAME}: {outage(error)}; {advice}") from error
