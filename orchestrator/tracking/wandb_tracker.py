"""W&B: one run per trial, grouped by sweep, and one run with the summary of the sweep."""

import netrc
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.spec.sections import Wandb
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import TrialContext
from trainables.result import EpochReport
from trainables.status import Status


class WandbTracker:
    """WandbTracker: runs of W&B. group = sweep, id = sweep and trial. Online a trial is resumed under its id.

    Offline each start makes its own folder `offline-run-*-<id>`; `wandb sync` joins the folders of one id.
    """

    name = "W&B"

    def __init__(self, settings: Wandb) -> None:
        self._settings = settings

    def start(self, context: TrialContext) -> "WandbTrial":
        """Open the run of a trial."""
        config = context.config
        tags = (config.architecture.split("_")[0].split(".")[0], config.strategy, f"balance-{config.balance}")
        run = self._open(
            context.sweep,
            context.folder,
            context.name,
            job_type=context.job_type,
            config=config.to_json(),
            tags=list(tags),
        )
        run.define_metric("*", step_metric="epoch")
        return WandbTrial(run, tags)

    def publish(self, summary: SweepSummary) -> None:
        """Write the summary run, `<sweep>-sweep`; one that was not sent yet is replaced."""
        import wandb

        unsent = [path.parent for path in summary.folder.glob(f"wandb/offline-run-*/run-{summary.sweep}-sweep.wandb")]
        run = self._open(summary.sweep, summary.folder, "sweep", job_type="sweep")
        columns, rows = summary.table()
        run.summary["leaderboard"] = wandb.Table(columns=[*columns], data=[*rows], allow_mixed_types=True)
        run.summary.update(summary.values())
        run.finish(exit_code=0)
        for folder in unsent:
            shutil.rmtree(folder)

    def _open(self, sweep: str, folder: Path, name: str, **settings: Any) -> Any:
        import wandb  # takes half a second, which a sweep without W&B avoids

        wandb.setup(wandb.Settings(silent=True))  # otherwise its login prints a greeting on the terminal of the sweep
        online = resolve_mode(self._settings) == "online"
        folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self._settings.project,
            group=sweep,
            id=f"{sweep}-{name}",
            name=name,
            dir=str(folder),
            mode="online" if online else "offline",
            resume="allow" if online else None,
            reinit="create_new",  # several trials are open at once
            settings=wandb.Settings(
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                # The list of installed packages takes half a second to collect; run.json has the versions that matter.
                x_save_requirements=False,
                init_timeout=30,
            ),
            **settings,
        )


class WandbTrial:
    """WandbTrial: one trial in W&B."""

    def __init__(self, run: Any, tags: tuple[str, ...]) -> None:
        self._run = run
        self._tags = tags

    def log(self, report: EpochReport) -> None:
        """Send the metrics of an epoch, under its own number."""
        values = {**report.metrics, "time/epoch_s": report.seconds, "epoch": report.epoch}
        # Committed at once: otherwise a row is held until the next one, and is lost when the driver is killed.
        self._run.log(values, step=report.epoch, commit=True)

    def finish(self, status: Status, summary: Mapping[str, float]) -> None:
        """Close the run with its status as a tag."""
        self._run.tags = (*self._tags, status.value)
        self._run.summary.update({"status": status.value, **summary})
        self._run.finish(exit_code=0 if status in (Status.COMPLETED, Status.PRUNED) else 1)


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
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
