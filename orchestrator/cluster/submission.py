"""Submission of a sweep to a cluster: Ray's job API runs `thaw sweep` on the head node; this process follows it.

The resolved sweep file is sent in the job's command. No file of the user's folder is sent, as a working directory would
be: a user's folder named `analysis` would shadow ours on every node.
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from search_spaces.errors import InvalidInput, ThawError

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

    def __init__(self, client: JobSubmissionClient, job_id: str) -> None:
        self._client = client
        self.job_id = job_id

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
            raise ThawError(f"job {self.job_id} can no longer be seen, but goes on: {error}") from error
        if found.status is JobStatus.STOPPED:
            return INTERRUPTED
        if found.driver_exit_code is None:
            raise ThawError(f"job {self.job_id} must run to its end, got {found.status.value}: {found.message}")
        if found.driver_exit_code == NOT_FOUND:
            raise ThawError(
                "the head node must find the command `thaw`, but it is not on the PATH that Ray was started with; "
                "activate Thaw's environment there before `ray start`"
            )
        if found.driver_exit_code not in (0, 1, 2, INTERRUPTED):
            raise ThawError(
                f"job {self.job_id} must run to its end, but its process ended with {found.driver_exit_code}, as by a "
                "signal; go on with `thaw resume` on a node of the cluster"
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


def submit_job(name: str, sweep_file: str, address: str) -> Job:
    """Submit a sweep to the cluster whose dashboard is at `address`, e.g. http://head:8265.

    Its paths are those of the cluster's nodes. Raises InvalidInput where nothing answers there.
    """
    if not address.startswith(("http://", "https://")):
        raise InvalidInput(
            f"--address: must be the address of the cluster's dashboard, got {address}; write http://HOST:8265, "
            "or, on a node of the cluster: thaw sweep SWEEP.yaml --address auto"
        )
    command = f"thaw sweep /dev/stdin --address auto <<'THE-END'\n{sweep_file}THE-END"
    if len(command.encode()) > LONGEST_COMMAND:
        raise InvalidInput(
            f"a sweep must be short to be submitted, at most {LONGEST_COMMAND:,} bytes, got {len(command.encode()):,}; "
            "copy its file to the cluster, and there: thaw sweep SWEEP.yaml --address auto"
        )
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.WARNING)  # the client logs its web sockets
    with _without_ray_address():
        try:
            client = JobSubmissionClient(address)
            job_id = _submit(client, command, f"{name}-{uuid.uuid4().hex[:8]}")
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
    return Job(client, job_id)


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
