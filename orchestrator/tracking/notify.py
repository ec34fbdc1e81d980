"""Notification of users that a sweep has ended. A failure of it is reported, and does not affect the sweep."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Literal

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.observer import Observer, SweepEnding
from orchestrator.tracking.wandb_tracker import resolve_mode

COMMAND_SECONDS = 60.0


class Notifier(Observer):
    """Notifier: sends the notifications of the sweep file at the end of a sweep that was not stopped on request."""

    def __init__(self, tracking: Tracking, warn: Callable[[str], None]) -> None:
        """Keep the settings; `warn` is called with each problem."""
        self._tracking = tracking
        self._warn = warn

    def on_close(self, ending: SweepEnding) -> None:
        """Run the command and send the alert; a user who has stopped the sweep knows of its end."""
        if ending.status != "interrupted":
            for problem in notify(self._tracking, ending):
                self._warn(problem)


def notify(tracking: Tracking, ending: SweepEnding) -> Iterator[str]:
    """Run the command and send the alert that the sweep file asks for; yield one sentence per failure."""
    if tracking.notify.command is not None:
        yield from _run(tracking.notify.command, ending)
    if tracking.notify.wandb_alert:
        yield from _alert(tracking.wandb, ending)


def _run(command: str, ending: SweepEnding) -> Iterator[str]:
    """Run a shell command; the shell fills in variables, so a secret can stay in the environment."""
    where = "tracking.notify.command"
    # A file and no pipe: a process that the command started may outlive it, and would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            result = subprocess.run(
                command,
                shell=True,
                env={**os.environ, **_variables(ending)},
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


def _variables(ending: SweepEnding) -> dict[str, str]:
    """Return the ending as variables for a command; those of the best trial are empty where there is none."""
    best = ending.best
    report = None if best is None else best.best
    return {
        "THAW_NAME": ending.name,
        "THAW_RUN": str(ending.run.resolve()),
        "THAW_STATUS": ending.status,
        "THAW_MESSAGE": ending.message,
        "THAW_METRIC": "" if best is None else best.config.objective.metric,
        "THAW_BEST": "" if best is None else str(best.objective),
        "THAW_BEST_TRIAL": "" if best is None else best.trial_id,
        "THAW_BEST_EPOCH": "" if report is None else str(report.epoch),
    }


def _alert(settings: Wandb, ending: SweepEnding) -> Iterator[str]:
    where = "tracking.notify.wandb_alert"
    mode = resolve_mode(settings)
    if mode != "online":
        yield f"{where}: needs W&B to be online, got {mode}; set WANDB_API_KEY, or `wandb login`"
        return
    try:
        send_alert(settings, ending)
    except Exception as error:  # the client raises its own errors, and those of the network and the file system
        yield f"{where}: {type(error).__name__}: {error}"


def send_alert(settings: Wandb, ending: SweepEnding, mode: Literal["online", "offline"] = "online") -> None:
    """Alert the users who have asked W&B for alerts, by e-mail or Slack, from a separate run in the sweep's group."""
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
