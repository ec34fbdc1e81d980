"""W&B: one run per trial, grouped by sweep, and one run with the summary of the sweep."""

import math
import netrc
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.spec.sections import Wandb
from orchestrator.tracking.isolated_tracker import OutputSigns
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.tracker import TrialContext, unique_id
from trainables.result import EpochReport
from trainables.status import Status

NAME = "W&B"

# The client's own limit for one request; a call of the tracker makes up to two.
REQUEST_SECONDS = 11.0

# The client reports in its output alone that the service has refused records: the run finishes without an error.
SIGNS = OutputSigns(failure="Fatal error while uploading data", reason=r"\b[45]\d\d encountered")


class WandbTracker:
    """WandbTracker: runs of W&B. group = sweep, id = uid of the run and trial. Online a trial is resumed under its id.

    Offline each start makes its own folder `offline-run-*-<id>`; `wandb sync` joins the folders of one id.
    """

    name = NAME

    def __init__(self, settings: Wandb, request_seconds: float = REQUEST_SECONDS) -> None:
        """Keep the settings; online, an answer of the service is awaited for at most `request_seconds`."""
        self._settings = settings
        self._seconds = request_seconds

    def start(self, context: TrialContext) -> "WandbTrial":
        """Open the run of a trial."""
        config = context.config
        tags = (config.architecture.split("_")[0].split(".")[0], config.strategy, f"balance-{config.balance}")
        run = self._open(
            context.sweep,
            context.folder,
            context.name,
            id=unique_id(context.sweep, context.uid, context.name),
            job_type=context.job_type,
            config=config.to_json(),
            tags=list(tags),
        )
        run.define_metric("*", step_metric="epoch")
        return WandbTrial(run, tags, self._check)

    def publish(self, summary: SweepSummary) -> None:
        """Write the summary run, `<uid>-sweep`; one that was not sent yet is replaced."""
        import wandb

        name = unique_id(summary.sweep, summary.uid, "sweep")
        unsent = [path.parent for path in summary.folder.glob(f"wandb/offline-run-*/run-{name}.wandb")]
        run = self._open(summary.sweep, summary.folder, "sweep", id=name, job_type="sweep")
        columns, rows = summary.table()
        run.summary["leaderboard"] = wandb.Table(columns=[*columns], data=[*rows], allow_mixed_types=True)
        run.summary.update(summary.values())
        run.finish(exit_code=0)
        self._check()
        for folder in unsent:
            shutil.rmtree(folder)

    def alert(self, sweep: str, uid: str | None, folder: Path, texts: Mapping[str, str]) -> None:
        """Send an alert (`title`, `text`, `level`) from a run of its own in the sweep's group."""
        # The id of an older version was random.
        settings = {} if uid is None else {"id": unique_id(sweep, uid, "end")}
        run = self._open(sweep, folder, f"{sweep}-end", job_type="sweep", **settings)
        run.alert(**texts)
        run.finish(exit_code=0)
        self._check()

    def _open(self, sweep: str, folder: Path, name: str, **settings: Any) -> Any:
        import wandb  # takes half a second, which a sweep without W&B avoids

        online = self._is_online
        # Otherwise its login prints a greeting on the terminal of the sweep. Online it has a process of its own, whose
        # messages are read there.
        wandb.setup(wandb.Settings(silent=not online, quiet=False))
        folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self._settings.project,
            group=sweep,
            name=name,
            dir=str(folder),
            mode="online" if online else "offline",
            resume="allow" if online else None,
            reinit="create_new",  # several trials are open at once
            settings=wandb.Settings(
                console="off",
                silent=not online,
                quiet=False,  # SIGNS are read in its output
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                # The list of installed packages takes half a second to collect; run.json has the versions that matter.
                x_save_requirements=False,
                init_timeout=self._seconds,
                finish_timeout=self._seconds,
                finish_timeout_raises=True,
            ),
            **settings,
        )

    @property
    def _is_online(self) -> bool:
        return resolve_mode(self._settings) == "online"

    def _check(self) -> None:
        """Raise an error where the service does not give a proper answer.

        The client takes any answer with status 200 for a success, also the page of a hotel's network.
        """
        if self._is_online:
            import wandb

            if wandb.Api(timeout=math.ceil(self._seconds)).viewer is None:
                raise ConnectionError("the key belongs to no user")


class WandbTrial:
    """WandbTrial: one trial in W&B."""

    def __init__(self, run: Any, tags: tuple[str, ...], check: Callable[[], None]) -> None:
        """`check` is called at the end; it raises an error where the service is out of reach."""
        self._run = run
        self._tags = tags
        self._check = check

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
        self._check()


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
    """Return what went wrong with the service, in one phrase, without the secrets that an address may hold."""
    address = re.sub(r"//[^/@\s]*@", "//", service_address())
    reason = re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))[:200] or type(error).__name__
    is_late = isinstance(error, TimeoutError) or "deadline exceeded" in reason
    return f"{address} {'does not answer' if is_late else 'failed'} ({reason})"


def explain_outage(error: Exception, folder: Path) -> str:
    """Return the message to users that W&B is offline from now on; `folder` is that of the run on this machine."""
    kept = folder / "wandb"
    return (
        f"{NAME}: {outage(error)}; the rest is recorded offline in {kept}, "
        f"send it later with: wandb sync {shlex.quote(str(kept))}/offline-run-*"
    )
