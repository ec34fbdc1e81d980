"""Where one trial reads and writes; no part of what it computes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialFolders:
    """The folders of one trial on this machine."""

    checkpoints: Path
    """Holds `best/` and `last/`."""

    predictions: Path
    """Parquet file of the validation predictions at the best epoch."""

    cache: Path
    """Node-local, derived data shared by all trials; may be deleted at any time between trials."""

    cache_budget: int | None = None
    """What `cache` may occupy, in bytes; None: half of what its disk has for it."""

    @property
    def best(self) -> Path:
        """Checkpoint of the epoch with the best objective."""
        return self.checkpoints / "best"

    @property
    def last(self) -> Path:
        """Checkpoint of the newest epoch, with the optimiser's state."""
        return self.checkpoints / "last"
