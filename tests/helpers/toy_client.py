"""A client of a service with every fault, for a process of its own."""

import atexit
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class ToyClient:
    """The client; each method is one behavior."""

    def nothing(self) -> None: ...

    def write(self, file: Path, text: str) -> None:
        with file.open("a") as stream:
            stream.write(f"{os.getpid()} {text} ")

    def write_environment(self, file: Path) -> None:
        file.write_text(" ".join(os.environ))

    def fail(self) -> None:
        raise OSError("no route to host")

    def fail_late(self) -> None:
        raise TimeoutError("timed out.")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)
        sys.stderr.flush()

    def hang(self) -> None:
        time.sleep(600)

    def hang_at_exit(self) -> None:
        atexit.register(time.sleep, 600)

    def start_child(self, file: Path) -> None:
        """Start a process in a session of its own, as W&B does."""
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        file.write_text(f"{os.getpid()} {child.pid}")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
