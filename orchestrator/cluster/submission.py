"""Submission to a cluster: Ray's job API runs `thaw` on the head node, to begin, resume or extend a run.

The resolved sweep file is sent in the job's command. No file of the user's folder is sent, as a working directory would
be: a user's folder named `analysis` would shadow ours on every node.
"""

import asyncio
import logging
import os
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from search_spaces.errors import InvalidInput, ThawError, shown
from search_spaces.shell import thaw_command
from trainables.storage.bucket import SCHEME
from trainables.storage.place import Place

INTERRUPTED = 130
NOT_FOUND = 127
JOB_POLL_SECONDS = 0.5
SILENT_SECONDS = 30
# Linux accepts 128 KiB as one argument of a command.
LONGEST_COMMAND = 120_000
# A dashboard answers some seconds before the node's agent, which starts the jobs, has started.
AGENT_SECONDS = 90


class Job:
    """Job: a sweep that a cluster runs, whether or not a process follows it."""

    def __init__(self, client: JobSubmissionClient, job_id: str, resume: str) -> None:
        """Take a submitted job; `resume` is the command that continues its run from this machine."""
        self._client = client
        self.job_id = job_id
        self.resume = resume

    def follow(self, write: Callable[[str], None]) -> int:
        """Write the sweep's output until it ends; return its exit code: 0, 1, 2 or 130.

        Raises ThawError when the job could not be started, died without an exit code, or can no longer be seen.
        """
        try:
            asyncio.run(self._listen(write))
            # The end of the output comes a moment before the end of the job.
            while not (found := self._client.get_job_info(self.job_id)).status.is_terminal():
                time.sleep(JOB_POLL_SECONDS)
        except (RuntimeError, OSError, aiohttp.ClientError) as error:  # errors of client and network
            raise ThawError(
                f"job {self.job_id} can no longer be seen ({error}), but continues unless the cluster's head is lost; "
                f"then, on a new head: {self.resume}"
            ) from error
        if found.status is JobStatus.STOPPED:
            return INTERRUPTED
        if found.driver_exit_code is None:
            raise ThawError(
                f"job {self.job_id} must run to its end, got {found.status.value}: {found.message}; "
                f"continue its run with: {self.resume}"
            )
        if found.driver_exit_code == NOT_FOUND:
            raise ThawError(
                "the head node must find the command `thaw`, but it is not on the PATH that Ray was started with; "
                "activate Thaw's environment there before `ray start`"
            )
        if found.driver_exit_code not in (0, 1, 2, INTERRUPTED):
            raise ThawError(
                f"job {self.job_id} must run to its end, but its process ended with {found.driver_exit_code}, as by a "
                f"signal; continue its run with: {self.resume}"
            )
        return int(found.driver_exit_code)

    async def _listen(self, write: Callable[[str], None]) -> None:
        """Write the job's output until it ends, also where the connection drops without an error."""
        written = 0
        texts = self._client.tail_job_logs(self.job_id)
        while True:
            coming = asyncio.ensure_future(anext(texts))
            while not (await asyncio.wait({coming}, timeout=SILENT_SECONDS))[0]:
                # The job may still run, or a router may have dropped the connection: a new connection shows which.
                status = await asyncio.to_thread(self._client.get_job_status, self.job_id)
                if status.is_terminal() and not coming.done():
                    coming.cancel()
                    write((await asyncio.to_thread(self._client.get_job_logs, self.job_id))[written:])
                    return
            try:
                text = coming.result()
            except StopAsyncIteration:
                return
            written += len(text)
            write(text)


def sweep_command(sweep_file: str) -> str:
    """Return the head's command for a new sweep; `sweep_file` is the text of the file."""
    return f"thaw sweep /dev/stdin --address auto <<'THE-END'\n{sweep_file}THE-END"


def resume_command(run: Place) -> str:
    """Return the head's command that resumes a run."""
    return _head_command("resume", run)


def extend_command(run: Place, trials: int, changes: Sequence[str]) -> str:
    """Return the head's command that extends a run by `trials`, with changes `KEY=VALUE` of its sweep file."""
    return _head_command("extend", run, f"--trials={trials}", *(f"--set={change}" for change in changes))


def _head_command(verb: str, run: Place, *options: str) -> str:
    if not str(run).startswith(("/", SCHEME)):
        raise InvalidInput(
            f"a run on a cluster must be its full path there, or s3://bucket/prefix, got {shown(str(run))}; "
            f"where the nodes have the folders of this machine, that is {Path.cwd() / str(run)}"
        )
    # Ray hands the command to `sh`, which does not know the form in which messages quote control characters.
    return shlex.join(("thaw", verb, str(run), *options, "--address=auto"))


def submit_job(run: Place, command: str, address: str) -> Job:
    """Submit the command that drives `run` to the cluster whose dashboard is at `address`, e.g. http://head:8265.

    All paths are those of the cluster's nodes. Raises InvalidInput where nothing answers there.
    """
    if not address.startswith(("http://", "https://")):
        raise InvalidInput(
            f"--address: must be the address of the cluster's dashboard, got {address}; write http://HOST:8265, "
            "or, on a node of the cluster: thaw sweep SWEEP.yaml --address auto"
        )
    _check_sendable(command)
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.WARNING)  # the client logs its web sockets
    with _without_ray_address():
        try:
            client = JobSubmissionClient(address)
            job_id = _submit(client, command, f"{_id_of(run)}-{uuid.uuid4().hex[:8]}")
        except AuthenticationError as error:
            raise InvalidInput(
                f"--address: the cluster at {address} asks for its token, and got none or another; "
                "copy ~/.ray/auth_token from its head to this machine"
            ) from error
        except (OSError, RuntimeError) as error:  # errors of `requests` are OSError
            raise InvalidInput(
                f"--address: a Ray cluster's dashboard must answer at {address}, got: {str(error).rstrip('.')}. "
                "Is its port open to this machine?"
            ) from error
    return Job(client, job_id, thaw_command("submit", "--resume", run, "--address", address))


def _check_sendable(command: str) -> None:
    try:
        size = len(command.encode())
    except UnicodeEncodeError:
        raise InvalidInput(
            f"a command must be UTF-8 to be submitted, got {shown(command)}; type it on a node of the cluster"
        ) from None
    if size > LONGEST_COMMAND:
        raise InvalidInput(
            f"a command must be short to be submitted, at most {LONGEST_COMMAND:,} bytes, got {size:,}; "
            "copy its sweep file to the cluster, and type it there, with --address auto"
        )


def _id_of(run: Place) -> str:
    """Return the run's name as a part of a job's id, which stands in addresses and names of files."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run.name)[:64] or "run"


def _submit(client: JobSubmissionClient, command: str, job_id: str) -> str:
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        try:
            return str(client.submit_job(entrypoint=command, submission_id=job_id))
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(JOB_POLL_SECONDS)


@contextmanager
def _without_ray_address() -> Iterator[None]:
    """Remove the variables that Ray's client prefers to the address that it is given."""
    former = {name: os.environ.pop(name, None) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in former.items() if value is not None})
