"""Use of the processor: how many threads compute, and what becomes of the memory that they free."""

import ctypes
import os

import torch

# Parameters of mallopt(3) in glibc.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_KEPT = 2**31 - 1


def use_processor(threads: int) -> None:
    """Compute with so many threads from now on, and keep up to 2 GiB of freed memory for the next step.

    By default glibc asks the kernel for each larger tensor anew, and the kernel clears each of its pages: up to half
    of the time of a step (`benchmarks/freed_memory.py`), for up to a fifth less memory. Settings of the user
    (MALLOC_...) win; C libraries other than glibc stay as they are.
    """
    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def give_back_memory() -> None:
    """Give the memory that has been freed, and kept, back to the system; nothing where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
