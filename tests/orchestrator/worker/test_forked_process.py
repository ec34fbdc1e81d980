"""A worker where no process can be forked; `test_forked_rank.py` has who dies with whom."""

import logging
import os
import sys

import pytest
import ray

from orchestrator.worker.forked_process import fork_process

# The workers do not find this module where they would look for it.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = [
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.skipif(sys.platform != "linux", reason="only there is a process forked"),
]


def test_a_worker_that_cannot_fork_tells_why() -> None:
    def messages() -> list[str]:
        os.environ["RAY_TMPDIR"] = "/dev/null"
        found: list[str] = []

        class Listed(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                found.append(record.getMessage())

        logging.getLogger("orchestrator").addHandler(Listed())
        assert fork_process(len) is None
        return found

    (message,) = ray.get(ray.remote(num_cpus=0, max_calls=1)(messages).remote())
    assert message.startswith("no process was forked (/dev/null")
    assert message.endswith("this worker imports the packages itself")


def test_nothing_is_forked_without_ray() -> None:
    assert fork_process(len) is None
