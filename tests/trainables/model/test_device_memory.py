import weakref

import pytest
import torch

from trainables.model.device_memory import forward_batch, is_out_of_memory, release


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


def test_a_processor_takes_fewer_images_at_once_the_larger_they_are() -> None:
    cpu, sizes = torch.device("cpu"), (8, 32, 96, 224, 512, 1024)
    assert [forward_batch(size, cpu) for size in sizes] == [128, 128, 32, 5, 1, 1]
    assert {forward_batch(size, torch.device("cuda")) for size in sizes} == {128}


def test_what_only_the_garbage_holds_is_given_back() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.own, self.tensor = self, torch.zeros(8)

    kept = weakref.ref(Cycle())
    release()
    assert kept() is None
