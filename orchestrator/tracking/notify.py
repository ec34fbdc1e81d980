"""Telling people that a sweep has ended. Whatever goes wrong with it is said, and costs the sweep nothing."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.wandb_tracker import resolve_mode
from trainables.result import TrialResult
from trainables.storage.place import Place

COMMAND_SECONDS = 60.0

SweepStatus = Literal["completed", "interrupted", "failed"]


@dataclass(frozen=True)
class SweepEnding:
    """How a sweep ended."""

    name: str
    run: Place
    status: SweepStatus
    """interrupted: by a person."""

    message: str
    """What there is to say of it."""

    trials: tuple[TrialResult, ...]
    """As far as they came."""

    best: TrialResult | None
    """The best completed trial."""

    def environment(self) -> dict[str, str]:
        """As variables for a command; those of the best trial are empty where there is none."""
        best = self.best
        report = None if best is None else best.best
        return {
            "THAW_NAME": self.name,
            "THAW_RUN": str(self.run.resolve()),
            "THAW_STATUS": self.status,
            "THAW_MESSAGE": self.message,
            "THAW_METRIC": "" if best is None else best.config.objective.metric,
            "THAW_BEST": "" if best is None else str(best.objective),
            "THAW_BEST_TRIAL": "" if best is None else best.trial_id,
            "THAW_BEST_EPOCH": "" if report is None else str(report.epoch),
        }


def notify(tracking: Tracking, ending: SweepEnding) -> Iterator[str]:
    """Run the command and send the alert that the sweep file asks for; yields what went wrong, a sentence each."""
    if tracking.notify.command is not None:
        yield from _run(tracking.notify.command, ending)
    if tracking.notify.wandb_alert:
        yield from _alert(tracking.wandb, ending)


def _run(command: str, ending: SweepEnding) -> Iterator[str]:
    """Run a command of the shell, which fills in variables: so a secret can stay in the environment."""
    where = "tracking.notify.command"
    # A file and no pipe: what the command has started may outlive it, and would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            result = subprocess.run(
                command,
                shell=True,
                env={**os.environ, **ending.environment()},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            yield f"{where}: must end within {COMMAND_SECONDS:g} s, but did not, and was ended"
            return
        except (OSError, ValueError) as error:
            yield f"{where}: must be a command of the shell, got {error}"
            return
        if result.returncode != 0:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
            yield f"{where}: must end with exit code 0, got {result.returncode}: {last}"


def _alert(settings: Wandb, ending: SweepEnding) -> Iterator[str]:
    where = "tracking.notify.wandb_alert"
    mode = resolve_mode(settings)
    if mode != "online":
        yield f"{where}: needs W&B to be online, got {mode}; set WANDB_API_KEY, or `wandb login`"
        return
    try:
        send_alert(settings, ending)
    except Exception as error:  # the client raises its own, the network's and the file system's errors
        yield f"{where}: {type(error).__name__}: {error}"


def send_alert(settings: Wandb, ending: SweepEnding, mode: Literal["online", "offline"] = "online") -> None:
    """Alert whoever has asked W&B for it, by e-mail or Slack, from a run of its own in the sweep's group."""
    import wandb

    run = wandb.init(
        project=settings.project,
        group=ending.name,
        job_type="sweep",
        name=f"{ending.name}-end",
        dir=str(RunFolder(ending.run).local),
        mode=mode,
        settings=wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, init_timeout=30
        ),
    )
    level = "INFO" if ending.status == "completed" else "ERROR"
    run.alert(title=f"{ending.name}: {ending.status}", text=ending.message, level=level)
    run.finish()
