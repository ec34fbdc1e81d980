"""Where one trial reads and writes, and the node's cache; no part of what it computes."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    """Size limit of `cache`, in bytes; None: half of the space its disk has for it."""

    @property
    def best(self) -> Path:
        """Checkpoint of the epoch with the best objective."""
        return self.checkpoints / "best"

    @property
    def last(self) -> Path:
        """Checkpoint of the newest epoch, with the optimizer's state."""
        return self.checkpoints / "last"


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Give `path`, which the block writes, the mode of any new file: what the umask and the folder's ACL leave.

    The umask itself cannot be read without changing it for all threads of the process.
    """
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(stat.S_IMODE(mode))


def cache_folder(configured: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the node-local cache: as configured, else $THAW_CACHE_DIR, else ~/.cache/thaw."""
    if configured is not None:
        return configured.absolute()
    wanted = environment.get("THAW_CACHE_DIR")
    return Path(wanted).expanduser().absolute() if wanted else Path.home() / ".cache" / "thaw"
