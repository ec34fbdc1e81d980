"""Command line `thaw`. Errors are one message and an exit code.

Only the standard library and small modules are imported here: Ctrl-C during slow imports of a command is caught too.
"""

import atexit
import gc
import io
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from orchestrator.commands.fault_report import FaultReport, watch_background
from orchestrator.terminal.standard_streams import discard, prepare
from search_spaces.errors import StorageFailed, ThawError
from search_spaces.permissions import missing_permission

# Modules that only thaw[train] brings; aiohttp comes with ray.
_EXTRA = {
    *("torch", "torchvision", "timm", "accelerate", "safetensors", "huggingface_hub", "scipy", "sklearn"),
    *("ray", "aiohttp", "optuna", "wandb", "onnx", "onnxscript", "boto3", "botocore"),
}
# By default Python looks for cycles after 700 objects, among a thousand records a tenth of a command's time.
_OBJECTS_UNTIL_COLLECTION = 50_000
_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + signal.SIGPIPE


def main() -> NoReturn:
    """Run the console script."""
    prepare()
    code = 1

    def leave() -> None:
        """End the process; the interpreter's own end would free, for up to two seconds, what torch and others hold."""
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, StorageFailed):  # a closed pipe, a full disk: reported already
                stream.flush()
        os._exit(code)

    atexit.register(leave)  # the first one to be registered runs last
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)
    watch_background()
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # of a scheduler: files half written are removed
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # another Ctrl-C, while the first was reported
        code = _INTERRUPTED
    if is_main:
        for number in (signal.SIGINT, signal.SIGTERM):  # the rest is the interpreter's own end
            signal.signal(number, lambda *_: os._exit(_INTERRUPTED))
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; return the exit code: 0, 1 for a failure, 2 for bad input, 130 when interrupted,
    by Ctrl-C or SIGTERM.

    141 where the reader of the output has left, as in `thaw leaderboard RUN | head -1`. No exception leaves this
    function, except for a second Ctrl-C: an error that is not Thaw's own is written to a report file.
    """
    as_json = _logs_json(arguments)
    try:
        _print_any_name()
        code = _call(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _tell("interrupted", _INTERRUPTED, as_json=as_json)
    except BrokenPipeError:
        discard(sys.stdout, sys.stderr)
        return _BROKEN_PIPE
    except ThawError as error:
        return _tell(str(error), error.exit_code, as_json=as_json)
    except PermissionError as error:
        if error.filename is None:
            return _tell(FaultReport(error, arguments).write(), 1, as_json=as_json)
        return _tell(missing_permission(Path(os.fsdecode(error.filename))), 2, as_json=as_json)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _EXTRA:
            return _tell(f"this needs {error.name}: install thaw[train]", 1, as_json=as_json)
        return _tell(FaultReport(error, arguments).write(), 1, as_json=as_json)
    except Exception as error:
        return _tell(FaultReport(error, arguments).write(), 1, as_json=as_json)
    return code


def _call(arguments: list[str]) -> int:
    from orchestrator.commands.app import make_app

    try:
        make_app(arguments[0] if arguments else None)(args=arguments, prog_name="thaw")
    except SystemExit as end:  # typer ends in this way, after it has printed its messages
        cause = getattr(end.__context__, "__cause__", None)
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else 0
    return 0


def _tell(message: str, code: int, *, as_json: bool) -> int:
    """Print one message on standard error, as an event where the log is JSON; return the exit code.

    It is the same where the message cannot be written, or has no reader.
    """
    with suppress(OSError, SystemExit):  # rich ends the process where its reader has left
        if as_json:
            from orchestrator.terminal.event_log import EventLog

            EventLog(sys.stderr).error(message, code)
        elif code == _INTERRUPTED:
            print(message, file=sys.stderr)
        else:
            from orchestrator.commands import options

            options.prose(options.errors, f"[bold red]error:[/bold red] {options.escaped(message)}")
    return code


def _logs_json(arguments: list[str]) -> bool:
    """Return whether the arguments ask for a log of JSON events, even where the command cannot read them all."""
    return "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)


def _print_any_name() -> None:
    """Let standard output escape characters that the terminal's encoding lacks, as in names that are not UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")
