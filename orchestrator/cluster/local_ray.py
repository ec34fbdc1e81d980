"""Ray of this machine alone: started for one process, private to its user, within reach of no other machine."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import psutil
import ray
from ray._private import ray_constants
from ray._private.node import Node

from orchestrator.cluster.ray_leftovers import ended_with_driver
from orchestrator.cluster.session_folder import session_folder
from orchestrator.cluster.token_file import protect_token
from search_spaces.errors import ThawError

log = logging.getLogger(__name__)

ATTEMPTS = 3
PAUSE_SECONDS = 2.0

# Starts of the servers that are of no use on one machine: copying of logs to the driver, web pages, autoscaling.
UNUSED = ("start_log_monitor", "start_api_server", "start_monitor")


@contextmanager
def local_ray(cpus: int | None) -> Iterator[None]:
    """Start Ray for the time of the block, with `cpus` cores, None: all that Ray counts.

    Raises ThawError, with the cause, when Ray has not started after three attempts.
    """
    protect_token()
    with session_folder() as folder, ended_with_driver(folder):
        try:
            _start(folder, cpus)
            yield
        finally:
            ray.shutdown()


def _start(folder: Path, cpus: int | None) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _on_loopback(), _without_unused_servers():
                # Without `local`, Ray would join any cluster that it finds on this machine.
                ray.init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    namespace="thaw",
                    _temp_dir=str(folder),
                )
            # Ray opens its folders to every user; the folder above is closed already.
            for opened in (folder, *folder.glob("session_*")):
                opened.chmod(0o700)
            return
        except Exception as error:  # a bare one: Ray waits 30 s for its processes, too little on a busy machine
            _clear(folder)
            cause = " ".join(str(error).split()) or type(error).__name__
            if attempt == ATTEMPTS:
                raise ThawError(
                    f"Ray must start on this machine, got, at the last of {ATTEMPTS} attempts: {cause.rstrip('.')}. "
                    f"Its logs are in {folder}; memory, disk and load of the machine are the usual reasons"
                ) from error
            log.warning("Ray did not start, attempt %d of %d: %s", attempt, ATTEMPTS, cause)
            time.sleep(PAUSE_SECONDS)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Make Ray's processes listen on 127.0.0.1 only, instead of on every address of the machine.

    Ray has no public setting for that: it replaces a given 127.0.0.1 by the machine's outer address. It does so unless
    it takes this machine to be unfit for a cluster, as it takes Windows and macOS.
    """
    former = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = former


@contextmanager
def _without_unused_servers() -> Iterator[None]:
    """Start no server without a use: each takes 100 MB, one to two CPU seconds at its start, and goes on polling.

    Ray has no public setting for that.
    """
    with ExitStack() as stack:
        for name in UNUSED:
            stack.enter_context(patch.object(Node, name, lambda _node, **_options: None))
        yield


def _clear(folder: Path) -> None:
    """Stop the processes that a failed start has left; each names the session's folder in its command line."""
    with suppress(Exception):  # half of a connection
        ray.shutdown()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(str(folder) in part for part in process.cmdline()):
                process.kill()
                process.wait(5)
