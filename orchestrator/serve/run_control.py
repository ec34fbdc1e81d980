"""Control of a run from a dashboard: stop it, and resume it in a process that outlives the dashboard."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from analysis import heartbeat
from analysis.run_folder import open_run
from orchestrator.driver.stop_request import request_stop
from orchestrator.serve.access_token import VARIABLE
from search_spaces.errors import InvalidInput, ThawError
from search_spaces.shell import thaw_command
from trainables.storage.place import Place

_STOP_SECONDS = 120.0
_START_SECONDS = 30.0
_POLL_SECONDS = 0.2
_COMMAND = (sys.executable, "-P", "-c", "from orchestrator.cli import main; main()")


def stop_run(run: Place) -> str:
    """Stop a run as `thaw stop` does; return a sentence for the user. Raises InvalidInput or ThawError as it does."""
    request_stop(run).wait(_STOP_SECONDS)
    return f"Stopped; continue with: {thaw_command('resume', run)}"


def resume_run(run: Place) -> str:
    """Start `thaw resume` in a process of its own; return a sentence for the user once it drives the run.

    Raises InvalidInput where there is no run or a process drives it, and ThawError with its message where the new
    process ends before it drives the run.
    """
    open_run(run)
    before = heartbeat.read(run)
    if before is not None and heartbeat.is_alive(run):
        raise InvalidInput(f"{run}: must not be running to be resumed, but {before.who} drives it; stop it first")
    process, messages = _start(run)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        now = heartbeat.read(run)
        if now is not None and now.driver != (before and before.driver):
            return f"Resumed by {now.who}; its messages are in {messages}."
        if process.poll() is not None:
            said = _end_of(messages)
            messages.unlink()
            raise ThawError(f"thaw resume has ended with exit code {process.returncode}: {said}")
        time.sleep(_POLL_SECONDS)
    return f"Started as process {process.pid}; its messages are in {messages}."


def _start(run: Place) -> tuple[subprocess.Popen[bytes], Path]:
    """Start `thaw resume`; return the process and the file of its messages."""
    number, name = tempfile.mkstemp(prefix="thaw-resume-", suffix=".txt")  # for this user alone
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    with os.fdopen(number, "wb") as said:
        process = subprocess.Popen(
            [*_COMMAND, "resume", "--quiet", str(run.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # else a zombie stays when it ends
    return process, Path(name)


def _end_of(file: Path) -> str:
    lines = file.read_text(errors="replace").split("\n")
    return "\n".join(lines[-20:]).strip() or "it has printed nothing"
