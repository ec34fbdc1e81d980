import weakref

import pytest
import torch

from trainables.memory import is_out_of_memory, release


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_what_does_not_fit_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_what_only_the_garbage_holds_is_given_back() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.own, self.tensor = self, torch.zeros(8)

    kept = weakref.ref(Cycle())
    release()
    assert kept() is None
