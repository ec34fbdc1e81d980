import os
import sys
import threading
import time

import pytest

from orchestrator.serve.refresher import Lane, Refresher


def busy() -> float:
    """Take a fifth of a second of the processor."""
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    return time.monotonic()


def test_work_has_its_result_or_its_error(refresher: Refresher) -> None:
    assert refresher.ask(Lane.FIRST, lambda: 7).result(5) == 7
    with pytest.raises(KeyError):
        refresher.ask(Lane.QUICK, lambda: {}["a"]).result(5)
    assert refresher.ask(Lane.FIRST, lambda: 8).result(5) == 8


def test_a_lane_rests_in_proportion_while_others_work(refresher: Refresher) -> None:
    pieces = [refresher.ask(Lane.SLOW, busy) for _ in range(2)]
    fourth = refresher.ask(Lane.SLOW, time.monotonic)
    ended = pieces[-1].result(60)
    quick, first = (refresher.ask(lane, time.monotonic).result(60) for lane in (Lane.QUICK, Lane.FIRST))
    assert fourth.result(60) - ended > 1, "three hundredths of a core: twice 0.2 s in 13 s"
    assert max(quick, first) < fourth.result()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux alone")
def test_the_thread_is_nice_and_no_other(refresher: Refresher) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert refresher.ask(Lane.FIRST, niceness).result(5) == max(10, niceness())
