import os
import resource
import signal
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from orchestrator.planning.subprocess_runner import SubprocessRunner
from search_spaces.errors import InvalidInput


@pytest.fixture(scope="module")
def runner() -> SubprocessRunner:
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


def test_each_call_has_a_process_of_its_own(runner: SubprocessRunner) -> None:
    found = {runner(os.getpid), runner(os.getpid)}
    assert len(found) == 2
    assert os.getpid() not in found
    assert runner.imports > 0


def test_the_peak_of_one_call_is_not_that_of_another(runner: SubprocessRunner) -> None:
    large, small = runner(peak_after, 300 * 2**20), runner(peak_after, 2**20)
    assert large - small > 250 * 2**10


def test_what_is_raised_comes_back(runner: SubprocessRunner) -> None:
    with pytest.raises(InvalidInput, match="value must be even, got 3"):
        runner(refuse)


def test_a_process_that_is_killed_breaks_its_own_call_alone(runner: SubprocessRunner) -> None:
    with pytest.raises(BrokenProcessPool):
        runner(die)
    assert runner(int) == 0
