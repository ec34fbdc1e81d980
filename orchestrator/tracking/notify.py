"""Notification of users that a sweep has ended. A failure of it is reported, and does not affect the sweep."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO

from analysis.run_folder import RunFolder
from orchestrator.spec.sections import Tracking, Wandb
from orchestrator.tracking.isolated_tracker import HostedObject
from orchestrator.tracking.observer import Observer, SweepEnding, TrackerProblem
from orchestrator.tracking.sweep_identity import SweepIdentity
from orchestrator.tracking.weights_biases.service import CLIENT, NAME, outage, resolve_mode
from orchestrator.tracking.weights_biases.tracker import WandbTracker
from search_spaces.errors import ThawError

# For the command and the alert together.
NOTIFY_SECONDS = 20.0
_END_SECONDS = 2.0


class Notifier(Observer):
    """Notifier: sends the notifications of the sweep file at the end of a sweep that was not stopped on request."""

    def __init__(self, tracking: Tracking, warn: Callable[[str], None]) -> None:
        """Keep the settings; `warn` is called with each problem."""
        self._tracking = tracking
        self._warn = warn
        self._is_wandb_lost = False

    def on_problem(self, problem: TrackerProblem) -> None:
        """Send no alert to a service that does not answer."""
        self._is_wandb_lost |= problem.tracker == NAME

    def on_close(self, ending: SweepEnding) -> None:
        """Run the command and send the alert; a user who has stopped the sweep knows of its end."""
        if ending.status != "interrupted":
            for problem in notify(self._tracking, ending, is_wandb_lost=self._is_wandb_lost):
                self._warn(problem)


def notify(
    tracking: Tracking, ending: SweepEnding, seconds: float = NOTIFY_SECONDS, *, is_wandb_lost: bool = False
) -> Iterator[str]:
    """Run the command and send the alert that the sweep file asks for; yield one sentence per failure.

    Both run at once, for at most `seconds`. The alert stays on this machine where W&B is lost, as its other records.
    """
    settings = tracking.wandb.model_copy(update={"mode": "offline"}) if is_wandb_lost else tracking.wandb
    command = tracking.notify.command
    if command is None:
        if tracking.notify.wandb_alert:
            yield from _alert(settings, ending, seconds, is_wandb_lost=is_wandb_lost)
        return
    began = time.monotonic()
    # A file and no pipe: a process that the command started may outlive it, and would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = _start(command, ending, said)
        if tracking.notify.wandb_alert:
            yield from _alert(settings, ending, seconds, is_wandb_lost=is_wandb_lost)
        if isinstance(process, str):
            yield process
        else:
            yield from _await(process, said, began, seconds)


def _start(command: str, ending: SweepEnding, said: IO[str]) -> subprocess.Popen[bytes] | str:
    """Start a shell command, or return why not. The shell fills in variables: a secret can stay in the environment."""
    try:
        return subprocess.Popen(
            command,
            shell=True,
            env={**os.environ, **_variables(ending)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"tracking.notify.command: must be a command of the shell, got {error}"


def _await(process: subprocess.Popen[bytes], said: IO[str], began: float, seconds: float) -> Iterator[str]:
    where = "tracking.notify.command"
    try:
        code = process.wait(max(0.0, began + seconds - time.monotonic()))
    except subprocess.TimeoutExpired:
        yield f"{where}: must end within {seconds:g} s, but did not, and was ended"
        return
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        said.seek(0)
        last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
        yield f"{where}: must end with exit code 0, got {code}: {last}"


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


def _alert(settings: Wandb, ending: SweepEnding, seconds: float, *, is_wandb_lost: bool) -> Iterator[str]:
    where = "tracking.notify.wandb_alert"
    mode = resolve_mode(settings)
    if mode != "online" and not is_wandb_lost:
        yield f"{where}: needs W&B to be online, got {mode}; set WANDB_API_KEY, or `wandb login`"
        return
    try:
        send_alert(settings, ending, seconds)
    except Exception as error:  # the client raises its own errors, and those of the network and the file system
        yield f"{where}: {outage(error)}"


def send_alert(settings: Wandb, ending: SweepEnding, seconds: float = NOTIFY_SECONDS) -> None:
    """Alert the users who have asked W&B for alerts, by e-mail or Slack, from a separate run in the sweep's group.

    Raises an error when the alert is not sent within `seconds`.
    """
    run = RunFolder(ending.run)
    try:
        sweep = SweepIdentity.of(run)
    except ThawError:  # the sweep has failed before its run was written
        sweep = SweepIdentity(ending.name)
    level = "INFO" if ending.status == "completed" else "ERROR"
    texts = {"title": f"{ending.name}: {ending.status}", "text": ending.message, "level": level}
    seconds -= _END_SECONDS
    hosted = HostedObject(WandbTracker(settings, seconds / 2), CLIENT, seconds)
    end = threading.Timer(seconds, hosted.kill)  # the start of the process counts here
    end.start()
    try:
        hosted.call("alert", sweep, run, texts)
        with suppress(TimeoutError):  # the alert has been sent
            hosted.close(_END_SECONDS)
    finally:
        end.cancel()
        hosted.kill()
