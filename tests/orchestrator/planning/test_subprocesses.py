import os
import resource
import signal
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from orchestrator.planning.subprocesses import SubprocessRunner
from search_spaces.errors import InvalidInput


@pytest.fixture(scope="module")
def subprocesses() -> SubprocessRunner:
    return SubprocessRunner("search_spaces.errors")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise InvalidInput("value must be even, got 3")


def imported(*names: str) -> list[str]:
    return [name for name in names if name in sys.modules]


def peak_after(size: int) -> int:
    """The peak in KiB of a process that has held `size` bytes."""
    held = bytearray(os.urandom(1)) * size
    assert len(held) == size
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_each_call_has_a_process_of_its_own(subprocesses: SubprocessRunner) -> None:
    found = {subprocesses(os.getpid), subprocesses(os.getpid)}
    assert len(found) == 2
    assert os.getpid() not in found
    assert subprocesses.imports > 0


def test_the_peak_of_one_call_is_not_that_of_another(subprocesses: SubprocessRunner) -> None:
    large, small = subprocesses(peak_after, 300 * 2**20), subprocesses(peak_after, 2**20)
    assert large - small > 250 * 2**10


def test_what_is_raised_comes_back(subprocesses: SubprocessRunner) -> None:
    with pytest.raises(InvalidInput, match="value must be even, got 3"):
        subprocesses(refuse)


def test_a_process_that_is_killed_breaks_its_own_call_alone(subprocesses: SubprocessRunner) -> None:
    with pytest.raises(BrokenProcessPool):
        subprocesses(die)
    assert subprocesses(int) == 0
