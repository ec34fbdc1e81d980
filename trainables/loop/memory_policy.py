"""Memory policy: what gives way when a batch does not fit into the memory of the device."""

import logging
from collections.abc import Callable
from typing import TypeVar

from search_spaces.errors import OutOfMemory
from trainables.config import TrialConfig
from trainables.loop.batches import TrialBatches
from trainables.model.device_memory import forward_batch, is_out_of_memory, release

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class MemoryPolicy:
    """Number of images that a trial computes at once. A batch that does not fit is divided; the result stays the same.

    Images that are kept on the device are given up first: that costs time, and changes nothing that is computed.
    """

    def __init__(self, config: TrialConfig, images: TrialBatches, ranks: int, notes: list[str]) -> None:
        """`ranks` is the number of workers; `notes` is where the leaderboard's notes are added."""
        self.images = images
        self.ranks = ranks
        self.notes = notes
        # No larger than the data: to halve what is never reached would change nothing.
        self.micro_batch = min(config.micro_batch_size or config.batch_size, len(images.train))
        self.evaluation_batch = forward_batch(config.data.image_size, images.device)

    def fit_step(self, step: Callable[[], Result], clear: Callable[[], None]) -> Result:
        """Take an optimizer step; while it does not fit into memory, halve the micro-batch and run it again.

        `clear` frees the gradients of a step that failed. The global batch stays the same. Ranks cannot agree on this
        without a message per step, so with several workers the trial ends at once: raises OutOfMemory, as it does when
        not even one image fits.
        """
        while True:
            try:
                return step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = self.micro_batch // 2
                room_made = self.ranks == 1 and self.images.take_back()
                if not room_made and (smaller == 0 or self.ranks > 1):
                    raise OutOfMemory(
                        f"a micro-batch must fit into memory, got {self.micro_batch} images that do not; "
                        "set a smaller micro_batch_size, a smaller architecture or image_size"
                    ) from error
            # Outside the handler: the exception holds the frames, and with them the tensors that did not fit.
            clear()
            release()
            if room_made:
                continue
            self.micro_batch = smaller
            self.notes.append(f"out of memory: micro-batch halved to {smaller}; BatchNorm sees smaller batches")
            log.warning("%s", self.notes[-1])

    def fit_evaluation(self, evaluate: Callable[[int], Result]) -> Result:
        """Evaluate in batches of a size; while they do not fit into memory, halve it. Nothing else changes.

        Raises OutOfMemory when not even one image fits.
        """
        while True:
            try:
                return evaluate(self.evaluation_batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                room_made = self.images.take_back()
                if self.evaluation_batch == 1 and not room_made:
                    raise OutOfMemory(
                        "a validation image must fit into memory, but none does; set a smaller architecture or size"
                    ) from error
            if not room_made:
                self.evaluation_batch //= 2
            release()
