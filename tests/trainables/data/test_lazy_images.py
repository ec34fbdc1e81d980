import threading
import time
from collections import Counter

import numpy as np
import pytest

from search_spaces.errors import InvalidInput
from trainables.data.lazy_images import LazyImages

SHAPE = (10, 4, 4, 3)


class Decoder:
    """Each image is full of its index; counts how often it was decoded."""

    def __init__(self) -> None:
        self.count: Counter[int] = Counter()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, index: int) -> np.ndarray:
        self.go_on.wait(60)
        self.count[index] += 1
        return np.full(SHAPE[1:], index, dtype=np.uint8)

    def wait_for(self, *indices: int) -> None:
        deadline = time.monotonic() + 60
        while any(not self.count[index] for index in indices):
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


def values(images: np.ndarray) -> list[int]:
    assert images.dtype == np.uint8
    assert images.shape[1:] == SHAPE[1:]
    return images[:, 0, 0, 0].tolist()


def test_it_reads_as_the_array_would(decoder: Decoder) -> None:
    images = LazyImages(decoder, SHAPE, 2)
    assert len(images) == 10
    assert values(images[np.array([3, 1, 9])]) == [3, 1, 9]
    assert values(images[np.array([5, 5, 2, 5])]) == [5, 5, 2, 5]
    assert decoder.count[5] == 1
    assert values(images[np.array([], dtype=np.int64)]) == []


def test_what_was_announced_is_decoded_ahead_and_once(decoder: Decoder) -> None:
    images = LazyImages(decoder, SHAPE, 2)
    first, second, third = np.array([1, 2]), np.array([2, 3]), np.array([4, 4])
    images.announce(first, second)
    decoder.wait_for(1, 2, 3)
    assert values(images[first]) == [1, 2]
    assert values(images[first[::-1]]) == [2, 1]
    images.announce(second, third)
    decoder.wait_for(4)
    assert values(images[second]) == [2, 3]
    assert decoder.count == {1: 1, 2: 1, 3: 1, 4: 1}
    images.announce(third)
    assert values(images[first]) == [1, 2]
    assert decoder.count[1] == 2


def test_what_is_no_longer_announced_is_not_decoded(decoder: Decoder) -> None:
    images = LazyImages(decoder, SHAPE, 1)
    decoder.go_on.clear()
    images.announce(np.arange(10))
    images.announce(np.array([7]))
    decoder.go_on.set()
    assert values(images[np.array([7])]) == [7]
    # Only what the one thread had begun.
    assert set(decoder.count) <= {0, 7}


def test_chunks_are_all_images_in_order_each_decoded_once(decoder: Decoder) -> None:
    chunks = [values(chunk) for chunk in LazyImages(decoder, SHAPE, 3).chunks(4)]
    assert chunks == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert set(decoder.count.values()) == {1}


def test_an_image_that_cannot_be_read_is_raised_where_it_is_asked_for() -> None:
    def decode(index: int) -> np.ndarray:
        if index == 3:
            raise InvalidInput("photo.jpg: image must be complete")
        return np.zeros(SHAPE[1:], dtype=np.uint8)

    images = LazyImages(decode, SHAPE, 2)
    images.announce(np.arange(5))
    assert len(images[np.array([0, 1])]) == 2
    with pytest.raises(InvalidInput, match=r"photo.jpg"):
        images[np.array([2, 3])]
