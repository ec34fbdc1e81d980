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


def test_there_is_nothing_to_release_without_a_gpu() -> None:
    release(torch.device("cpu"))
