"""W&B, written from the process that trains. It is a mirror: whatever goes wrong with it, the trial goes on."""

import logging
import netrc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.spec.sections import Wandb
from trainables.config import TrialConfig
from trainables.result import EpochReport, Status

log = logging.getLogger(__name__)


class WandbRun:
    """One run in W&B: group = sweep, id = sweep and trial, resumed under the same id."""

    def __init__(
        self, settings: Wandb, *, sweep: str, name: str, job_type: str, config: TrialConfig, folder: Path
    ) -> None:
        self._tags = [config.architecture.split("_")[0].split(".")[0], config.strategy, f"balance-{config.balance}"]
        self._run: Any = None
        mode = resolve_mode(settings)
        if mode == "disabled":
            return

        def start() -> Any:
            import wandb  # half a second, which a sweep without W&B need not wait for

            folder.mkdir(parents=True, exist_ok=True)
            return wandb.init(
                project=settings.project,
                group=sweep,
                id=f"{sweep}-{name}",
                name=name,
                job_type=job_type,
                config=config.to_json(),
                tags=self._tags,
                dir=str(folder),
                mode="online" if mode == "online" else "offline",
                resume="allow" if mode == "online" else None,
                reinit="finish_previous",
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    disable_git=True,
                    disable_code=True,
                    x_disable_stats=True,
                    x_disable_meta=True,
                    # The list of installed packages, half a second to collect; run.json has the versions that matter.
                    x_save_requirements=False,
                    init_timeout=30,
                ),
            )

        self._run = _harmless(start)
        if self._run is not None:
            _harmless(lambda: self._run.define_metric("*", step_metric="epoch"))

    def log(self, report: EpochReport) -> None:
        """Send the metrics of an epoch, under its own number: a resumed run goes on where it stood."""
        if self._run is not None:
            values = {**report.metrics, "time/epoch_s": report.seconds, "epoch": report.epoch}
            _harmless(lambda: self._run.log(values, step=report.epoch))

    def finish(self, status: Status, summary: Mapping[str, Any]) -> None:
        """Close the run with its status as a tag."""
        if self._run is None:
            return

        def close() -> None:
            self._run.tags = (*self._tags, status.value)
            self._run.summary.update({"status": status.value, **summary})
            self._run.finish(exit_code=0 if status in (Status.COMPLETED, Status.PRUNED) else 1)

        _harmless(close)
        self._run = None


def resolve_mode(settings: Wandb) -> str:
    """online, offline or disabled: `auto` is online when a key is configured."""
    if settings.mode != "auto":
        return settings.mode
    environment = os.environ.get("WANDB_MODE")
    if environment in ("online", "offline", "disabled"):
        return environment
    return "online" if has_key() else "offline"


def has_key() -> bool:
    """Whether a W&B key is configured: by environment, or by `wandb login`, which keeps it in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _harmless(action: Callable[[], Any]) -> Any:
    """Run `action`; a failure of W&B is logged and never costs a trial."""
    try:
        return action()
    except Exception as error:  # the client raises its own, the network's and the file system's errors
        log.warning("W&B: %s: %s; the trial goes on without it", type(error).__name__, error)
        return None
