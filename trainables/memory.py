"""Running out of memory: how it shows, and what can be done about it in a batch that need not be one."""

import torch
from accelerate.utils.memory import clear_device_cache

# The CPU's allocator, and oneDNN behind it, have no exception of their own.
_WORDS = ("can't allocate memory", "could not create a primitive", "could not create a memory")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that something did not fit into the memory of the device, or of the process."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(word in str(error) for word in _WORDS)


def release() -> None:
    """Give back what nobody uses any more, to try again with less: the garbage, and what torch keeps of a GPU."""
    clear_device_cache(garbage_collection=True)
