"""Where everything of a run lies on disk, how a run is opened, and how a file in it is replaced as a whole."""

import errno
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import InvalidInput, ThawError


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run; it neither reads nor creates anything."""

    root: Path
    """`<storage.root>/<name>`."""

    @property
    def run_json(self) -> Path:
        """Objective, space, distributions and data set of the run; its presence makes the folder a run."""
        return self.root / "run.json"

    @property
    def sweep_yaml(self) -> Path:
        """The sweep file as it was resolved."""
        return self.root / "sweep.yaml"

    @property
    def trials(self) -> Path:
        """Folder of the ledger: one JSON file a trial."""
        return self.root / "trials"

    def trial(self, trial_id: str) -> Path:
        """The record of one trial."""
        return self.trials / f"{_name(trial_id)}.json"

    def checkpoints(self, trial_id: str) -> Path:
        """Folder of a trial's checkpoints."""
        return self.root / "checkpoints" / _name(trial_id)

    def best(self, trial_id: str) -> Path:
        """Checkpoint of the epoch with the best objective."""
        return self.checkpoints(trial_id) / "best"

    def last(self, trial_id: str) -> Path:
        """Checkpoint of the newest epoch that did not improve the objective."""
        return self.checkpoints(trial_id) / "last"

    def predictions(self, trial_id: str) -> Path:
        """A finished trial's predictions on the validation split."""
        return self.root / "predictions" / f"{_name(trial_id)}.parquet"

    def log(self, trial_id: str) -> Path:
        """What one trial printed."""
        return self.root / "logs" / f"{_name(trial_id)}.log"

    @property
    def sweep_log(self) -> Path:
        """What the driver of the sweep printed."""
        return self.root / "logs" / "sweep.log"

    @property
    def tune(self) -> Path:
        """Folder of Ray Tune's experiments; never read for results."""
        return self.root / "tune"

    @property
    def study_log(self) -> Path:
        """Optuna's journal; derived from the ledger, local to the driver's node."""
        return self.root / "study.log"

    @property
    def warm_start(self) -> Path:
        """The finished trials of the runs that the sweep learns from, as they were when it was launched or extended."""
        return self.root / "warm_start.json"

    @property
    def wandb(self) -> Path:
        """Folder of W&B's local files."""
        return self.root / "wandb"

    @property
    def leaderboard_csv(self) -> Path:
        """The leaderboard as a table."""
        return self.root / "leaderboard.csv"

    @property
    def report_html(self) -> Path:
        """The report as one page."""
        return self.root / "report.html"

    @property
    def winner(self) -> Path:
        """Folder of the confirmed or retrained winner."""
        return self.root / "winner"

    @property
    def export(self) -> Path:
        """Folder of the ONNX bundle."""
        return self.root / "export"

    @property
    def stop_request(self) -> Path:
        """A file whose presence asks the driver to stop."""
        return self.root / "stop"

    @property
    def heartbeat(self) -> Path:
        """Who drives the run, and when it was last seen."""
        return self.root / "driver.json"


def open_run(path: Path) -> RunFolder:
    """The run in the folder `path`; raises InvalidInput, with the runs that lie nearby, when there is none."""
    run = RunFolder(path)
    if run.run_json.is_file():
        return run
    if not path.exists():
        raise InvalidInput(f"{path}: a run must be an existing folder, got none; {_remedy(path.parent)}")
    if not path.is_dir():
        raise InvalidInput(f"{path}: a run must be a folder, got a file; {_remedy(path.parent)}")
    raise InvalidInput(f"{path}: a run must have a run.json, found {_contents(path)}; {_remedy(path)}")


def write_atomically(path: Path, text: str) -> None:
    """Replace the file `path` by `text`: a reader, or a crash, finds the old file or the new one, never a part.

    The text goes to a temporary name in the same folder, to the disk, and is then renamed. Folders are created.
    Raises ThawError naming the folder when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                # A file name that is not UTF-8 may stand in a traceback; in JSON, `\udcff` is then its valid escape.
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ThawError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path.parent}: the disk is full ({error.strerror}), {path.name} was not written; free some space"
    return f"{path.parent}: cannot write {path.name} ({error.strerror}); the folder must be writable"


def _name(trial_id: str) -> str:
    """`trial_id`, once it is known to stay inside the run folder."""
    if not trial_id or trial_id.startswith(".") or "/" in trial_id or "\\" in trial_id:
        raise InvalidInput(
            f"a trial id must be a file name, got {trial_id!r}; give an id of the leaderboard, e.g. 0007"
        )
    return trial_id


def _remedy(parent: Path) -> str:
    runs = sorted(file.parent.name for file in parent.glob("*/run.json")) if parent.is_dir() else []
    advice = "give the folder `<storage.root>/<name>` of a sweep"
    return f"{advice}; {parent} has the runs {_listed(runs)}" if runs else advice


def _contents(folder: Path) -> str:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    return _listed(names) if names else "an empty folder"


def _listed(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
