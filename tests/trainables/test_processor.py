import os
import subprocess
import sys

import pytest
import torch

from trainables.processor import give_back_memory, use_processor

# Pages of 4 KiB that 20 tensors of 40 MiB, one after the other, make the kernel clear; and the memory that is kept.
FAULTS = """
import resource, torch
from trainables.processor import give_back_memory, use_processor
use_processor(1)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    return int(open("/proc/self/statm").read().split()[1])
def compute():
    for _ in range(20):
        torch.ones(10 * 2**20)
compute()
began = faults()
compute()
seen, kept = faults() - began, resident()
give_back_memory()
print(seen, kept - resident())
"""
PAGES = 40 * 256
"""Pages of one of the tensors."""


def measured(**environment: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    seen, given_back = map(int, done.stdout.split())
    return seen, given_back


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_is_freed_is_used_again_and_can_be_given_back() -> None:
    seen, given_back = measured()
    assert seen < PAGES
    assert given_back > PAGES / 2


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_users_settings_of_the_allocator_win() -> None:
    seen, _ = measured(MALLOC_MMAP_THRESHOLD_="1000000")
    assert seen > 15 * PAGES


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        use_processor(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    give_back_memory()
