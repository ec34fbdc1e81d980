"""Images that are decoded whenever they are asked for: in place of an array that does not fit into the node's cache."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


class LazyImages:
    """As an array of uint8 (n, size, size, 3) that is read by lists of indices alone, and holds no images of its own.

    Pillow releases the interpreter lock, so that threads decode at once, and go on while a batch is trained on.
    """

    def __init__(self, decode: Callable[[int], Pixels], shape: tuple[int, int, int, int], threads: int) -> None:
        """`decode` gives the image (size, size, 3) of an index."""
        self.shape = shape
        self._decode = decode
        self._pool = ThreadPoolExecutor(threads)
        self._announced: dict[int, Future[Pixels]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Indices) -> Pixels:
        """Return the images of `indices` (k,), as uint8 (k, size, size, 3); raises what the decoding raises."""
        coming = self._coming(indices)
        images = np.empty((len(indices), *self.shape[1:]), dtype=np.uint8)
        for place, index in enumerate(indices.tolist()):
            images[place] = coming[index].result()
        return images

    def announce(self, *batches: Indices) -> None:
        """Begin to decode the batches that are asked for next, and let go of what was announced before.

        No more than these are held, so two batches ahead cost the memory of two batches.
        """
        before, self._announced = self._announced, self._coming(*batches)
        for index in before.keys() - self._announced.keys():
            before[index].cancel()

    def chunks(self, size: int) -> Iterator[Pixels]:
        """Yield all images in order, at most `size` at a time."""
        cuts = [np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)]
        try:
            for number, cut in enumerate(cuts):
                self.announce(*cuts[number : number + 2])
                yield self[cut]
        finally:
            self.announce()

    def _coming(self, *batches: Indices) -> dict[int, Future[Pixels]]:
        # Each once, though a sampler may draw an image twice.
        wanted = dict.fromkeys(index for batch in batches for index in batch.tolist())
        return {index: self._announced.get(index) or self._pool.submit(self._decode, index) for index in wanted}
