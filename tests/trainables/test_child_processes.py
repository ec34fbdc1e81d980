"""Child processes: results in order, and what becomes of them when one dies, at Ctrl-C, and without their parent.

Each test has a process of its own: there is one fork server per process, and the first caller says what it imports.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

BEGIN = "import os, time, psutil\nfrom trainables.child_processes import map_in_processes\n"


def started(lines: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BEGIN + lines]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=root, start_new_session=True)


WAITING = """
coming = map_in_processes(time.sleep, [0, 0, 600, 600], 2)
next(coming), next(coming)
print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
next(coming)
"""


def test_results_come_in_the_order_of_the_arguments():
    with started("print([*map_in_processes(abs, range(-9, 0), 3)])") as process:
        assert process.communicate() == ("[9, 8, 7, 6, 5, 4, 3, 2, 1]\n", "")


def test_arguments_are_taken_as_results_are_used():
    lines = "taken = iter(range(99))\nnext(map_in_processes(abs, taken, 2))\nprint(next(taken))"
    with started(lines) as process:
        assert process.communicate() == ("5\n", "")


def test_a_child_that_dies_is_an_error():
    with started("[*map_in_processes(os._exit, [1, 1, 1], 2)]") as process:
        assert "BrokenProcessPool" in process.communicate()[1].splitlines()[-1]


def test_ctrl_c_is_told_by_the_parent_alone():
    with started(WAITING.replace("600", "2")) as process:
        assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert told.count("Traceback") == 1
    assert told.endswith("KeyboardInterrupt\n")


def test_children_end_with_a_parent_that_is_killed():
    with started(WAITING) as process:
        children = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
        process.communicate()
    assert psutil.wait_procs(children, timeout=30)[1] == []
