"""A sweep handed over to a cluster: Ray's job API runs `thaw sweep` on the head node, and this process listens.

The resolved sweep file travels as the only file of the job's working directory. Nothing else of the user's folder does:
a folder of theirs named `analysis` would shadow ours on every node.
"""

import asyncio
import os
import shlex
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator import ray_runtime  # noqa: F401  (sets Ray's environment)
from orchestrator.spec import SweepSpec
from search_spaces.errors import InvalidInput, ThawError

from ray.job_submission import JobStatus, JobSubmissionClient  # isort: skip

INTERRUPTED = 130
SWEEP_FILE = "sweep.yaml"


class Job:
    """A sweep that a cluster runs, whether or not anybody listens."""

    def __init__(self, client: JobSubmissionClient, job_id: str) -> None:
        self._client = client
        self.job_id = job_id

    def follow(self, write: Callable[[str], None]) -> int:
        """Pass on what the sweep prints, to its end; returns its exit code: 0, 1, 2 or 130.

        Raises ThawError when the job could not be started, or died without an exit code.
        """
        asyncio.run(self._listen(write))
        found = self._client.get_job_info(self.job_id)
        if found.status is JobStatus.STOPPED:
            return INTERRUPTED
        if found.driver_exit_code is None:
            raise ThawError(f"job {self.job_id} must run to its end, got {found.status.value}: {found.message}")
        return int(found.driver_exit_code)

    async def _listen(self, write: Callable[[str], None]) -> None:
        async for text in self._client.tail_job_logs(self.job_id):
            write(text)


def submit(spec: SweepSpec, address: str) -> Job:
    """Hand a sweep over to the cluster whose dashboard is at `address`, e.g. http://head:8265.

    Its paths are those of the cluster's nodes. Raises InvalidInput where nothing answers there.
    """
    if not address.startswith(("http://", "https://")):
        raise InvalidInput(
            f"--address: must be the address of the cluster's dashboard, got {address}; write http://HOST:8265, "
            "or, on a node of the cluster: thaw sweep SWEEP.yaml --address auto"
        )
    with tempfile.TemporaryDirectory() as folder, _without_ray_address():
        Path(folder, SWEEP_FILE).write_text(spec.to_yaml(), encoding="utf-8")
        try:
            client = JobSubmissionClient(address)
            job_id: str = client.submit_job(
                entrypoint=f"thaw sweep {shlex.quote(SWEEP_FILE)} --address auto",
                submission_id=f"{spec.name}-{uuid.uuid4().hex[:8]}",
                runtime_env={"working_dir": folder},
            )
        except (ConnectionError, RuntimeError) as error:
            raise InvalidInput(
                f"--address: a Ray cluster's dashboard must answer at {address}, got: {error} "
                "Is its port open to this machine, and is the cluster's token in ~/.ray/auth_token?"
            ) from error
    return Job(client, job_id)


@contextmanager
def _without_ray_address() -> Iterator[None]:
    """Ray's client prefers these variables to the address that it is given."""
    former = {name: os.environ.pop(name, None) for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in former.items() if value is not None})
