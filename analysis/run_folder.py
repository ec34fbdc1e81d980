"""Paths of a run: where each of its files lies, and how an existing run is opened.

A run lies in a folder or in a bucket. `analysis/run_store.py` copies its files to the run and back.

A generation is the part of a run between two drivers that did not end cleanly. The files of the first generation have
plain names, e.g. `trials/0007.json`. Those of a later one carry its number, e.g. `trials/0007.2.json`. A driver that
continues after a pause can therefore only add files that readers ignore.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.permissions import check_readable
from search_spaces.user_files import RECORD
from trainables.storage.bucket import BucketPath
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place, read_place

HEARTBEAT = re.compile(r"driver(?:\.(?P<number>[1-9]\d{0,8}))?\.json")
"""Names of the heartbeats of a run, one per driver."""
RUN_RECORD = re.compile(r"run(?:\.(?P<number>[1-9]\d{0,8}))?\.json")
"""Names of the records of a run, one per generation."""
LAUNCH_FILE = re.compile(r"(driver|warm_start|sweep|stop)(\.\d+)?(\.json|\.yaml)?|\..+\.tmp|\.driver-\w+")
"""Names of the files that the launch of a run may leave when it is killed before it has written run.json."""


class Generation(NamedTuple):
    """Generation: part of a run whose files carry one number."""

    number: int
    """Number of the driver that began it."""

    first_trial: int | None
    """Number of the first trial that began in it; None until its driver has read the trials before it."""


_LONGEST_ID = 64

FIRST_GENERATION = (Generation(1, 0),)


@dataclass(frozen=True)
class RunFolder:
    """RunFolder: the paths of one run; it neither reads nor creates anything."""

    root: Place
    """`<storage.root>/<name>`."""

    cache: Path | None = None
    """Cache of the node, for the local files of a run in a bucket; None: the machine's default."""

    driver: int = 1
    """Number of the newest driver: 1, 2, ... in the order in which drivers claimed the run."""

    generations: tuple[Generation, ...] = FIRST_GENERATION
    """Generations of the run, oldest first. The paths below are those of the last one."""

    def layers(self) -> Iterator["RunFolder"]:
        """Yield the run as of each generation, newest first: where a file may lie."""
        for length in range(len(self.generations), 0, -1):
            yield replace(self, generations=self.generations[:length])

    @property
    def local(self) -> Path:
        """Folder of this node for temporary files of the run; the run's own folder where the run lies in a folder."""
        if isinstance(self.root, Path):
            return self.root
        key = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return (self.cache or cache_folder(None)) / "runs" / f"{self.root.name}-{key}"

    def here(self, place: Place) -> Path:
        """Return the path at which this node works on the file or folder of `place`; in a folder the same path."""
        if isinstance(place, Path):
            return place
        assert isinstance(self.root, BucketPath)
        return self.local / place.relative_to(self.root)

    @property
    def run_json(self) -> Place:
        """Objective, space, distributions and data set of the run; its presence makes the folder a run."""
        return self.root / self._own("run", ".json")

    @property
    def sweep_yaml(self) -> Place:
        """Resolved sweep file."""
        return self.root / self._own("sweep", ".yaml")

    @property
    def trials(self) -> Place:
        """Folder of the ledger: one JSON file per trial."""
        return self.root / "trials"

    def trial(self, trial_id: str) -> Place:
        """Return the path of one trial's record."""
        return self.trials / self._own(_name(trial_id), ".json")

    def checkpoints(self, trial_id: str) -> Place:
        """Return the folder of a trial's checkpoints."""
        return self.root / "checkpoints" / self._own(_name(trial_id))

    def best(self, trial_id: str) -> Place:
        """Return the checkpoint of the epoch with the best objective."""
        return self.checkpoints(trial_id) / "best"

    def last(self, trial_id: str) -> Place:
        """Return the checkpoint of the newest epoch that did not improve the objective."""
        return self.checkpoints(trial_id) / "last"

    def predictions(self, trial_id: str) -> Place:
        """Return the file of a finished trial's predictions on the validation split."""
        return self.root / "predictions" / self._own(_name(trial_id), ".parquet")

    def log(self, trial_id: str) -> Place:
        """Return the log of one trial."""
        return self.root / "logs" / f"{_name(trial_id)}.log"

    @property
    def sweep_log(self) -> Place:
        """Log of the sweep's driver."""
        return self.root / "logs" / "sweep.log"

    @property
    def tune(self) -> Path:
        """Folder of Ray Tune's experiments, local to the driver's node; never read for results."""
        return self.local / self._own("tune")

    @property
    def study_log(self) -> Path:
        """Optuna's journal, derived from the ledger and local to the driver's node."""
        return self.local / self._own("study", ".log")

    @property
    def warm_start(self) -> Place:
        """Finished trials of the runs that the sweep learns from, as copied at its launch or last extension."""
        return self.root / self._own("warm_start", ".json")

    @property
    def wandb(self) -> Path:
        """Folder of W&B's files, on the driver's node."""
        return self.local / "wandb"

    @property
    def tracked(self) -> Path:
        """Ends of trials that trackers have recorded, on the driver's node."""
        return self.local / "tracked.jsonl"

    @property
    def published(self) -> Place:
        """Ids of the pages that `thaw wandb publish` has saved; in a bucket every node finds them."""
        return self.root / "published.json"

    @property
    def leaderboard_csv(self) -> Place:
        """Leaderboard as a table."""
        return self.root / "leaderboard.csv"

    @property
    def report_html(self) -> Place:
        """Report as one page."""
        return self.root / "report.html"

    @property
    def confirm(self) -> Place:
        """Run in which the finalists are trained again under several seeds; see `thaw confirm`."""
        return self.root / "confirm"

    @property
    def winner(self) -> Place:
        """Folder of the retrained winner."""
        return self.root / "winner"

    @property
    def export(self) -> Place:
        """Folder of the ONNX bundle."""
        return self.root / "export"

    def exported(self, trial_id: str) -> Place:
        """Return the folder of the ONNX bundle of a trial that was asked for, the winner or another one."""
        return self.root / "exports" / _name(trial_id)

    @property
    def stop_request(self) -> Place:
        """File whose presence asks the newest driver to stop."""
        return self.root / _numbered("stop", self.driver)

    @property
    def heartbeat(self) -> Place:
        """Claim and heartbeat of the newest driver; see `analysis/heartbeat.py`."""
        return self.root / _numbered("driver", self.driver, ".json")

    def _own(self, stem: str, suffix: str = "") -> str:
        return _numbered(stem, self.generations[-1].number, suffix)


def open_run(place: Place) -> RunFolder:
    """Open the run at `place`. Raises InvalidInput, with the runs that lie nearby, when there is none."""
    if isinstance(place, Path):
        check_readable(place / RunFolder(place).run_json.name)
        check_readable(place)
    try:
        if not place.exists():
            raise InvalidInput(f"{place}: a run must be an existing folder, got none; {_advice(place.parent)}")
        if not place.is_dir():
            raise InvalidInput(f"{place}: a run must be a folder, got a file; {_advice(place.parent)}")
        run = claimed_run(place)
        if any(layer.run_json.is_file() for layer in run.layers()):
            return run
        if run.heartbeat.is_file():
            raise InvalidInput(
                f"{place}: a run must have a run.json, but its sweep has not written it yet; wait for its first trial, "
                "or start the sweep again if it was killed"
            )
        raise InvalidInput(f"{place}: a run must have a run.json, found {_contents(place)}; {_advice(place)}")
    except StorageFailed as error:  # nothing has been done yet
        raise InvalidInput(str(error)) from error


def claimed_run(place: Place, cache: Path | None = None) -> RunFolder:
    """Return the run at `place` as of its newest driver; without any driver, as a first one would write it.

    The record of the newest driver lists the generations. Where it is damaged or lost, the names of the run's records
    say which there are.
    """
    names: list[str] = []
    while True:
        former, names = names, [child.name for child in place.iterdir()] if place.is_dir() else []
        drivers = [int(found["number"] or 1) for name in names if (found := HEARTBEAT.fullmatch(name))]
        run = RunFolder(place, cache, max(drivers, default=1))
        try:
            recorded = _recorded_generations(run.heartbeat) if drivers else FIRST_GENERATION
        except FileNotFoundError:  # a claim that was withdrawn after it was listed, or a link to nothing
            if names != former:
                continue
            recorded = ()
        known = {each.number: each for each in recorded}
        named = (int(found["number"] or 1) for name in names if (found := RUN_RECORD.fullmatch(name)))
        known |= {number: Generation(number, None) for number in named if number not in known}
        return replace(run, generations=tuple(known[number] for number in sorted(known)) or FIRST_GENERATION)


def _recorded_generations(heartbeat: Place) -> tuple[Generation, ...]:
    """Return the generations in the record of a driver; none where it is damaged, which `heartbeat.read` reports."""
    try:
        values: Any = json.loads(read_place(heartbeat, RECORD))
        pairs = [(number, first) for number, first in values.get("generations", FIRST_GENERATION)]
    except (PermissionError, IsADirectoryError, InvalidInput):
        return ()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ()
    valid = all(isinstance(number, int) and isinstance(first, int | None) for number, first in pairs)
    return tuple(Generation(number, first) for number, first in pairs) if valid else ()


def _numbered(stem: str, number: int, suffix: str = "") -> str:
    return f"{stem}{suffix}" if number == 1 else f"{stem}.{number}{suffix}"


def probe_id(architecture: str) -> str:
    """Return the name under which the linear probe of an architecture stands among those of the trials."""
    return f"probe-{architecture.replace('/', '-').replace(':', '-')}"


def _name(trial_id: str) -> str:
    """Return `trial_id` after a check that it stays inside the run folder."""
    if not trial_id or trial_id.startswith(".") or "/" in trial_id or "\\" in trial_id or len(trial_id) > _LONGEST_ID:
        raise InvalidInput(
            f"a trial id must be a file name, got {trial_id!r}; give an id of the leaderboard, e.g. 0007"
        )
    return trial_id


def _advice(parent: Place) -> str:
    runs: list[str] = []
    with suppress(PermissionError):  # the advice is left out where the runs nearby may not be read
        there = parent.iterdir() if parent.is_dir() else ()
        runs = sorted(child.name for child in there if (child / "run.json").is_file())
    advice = "give the folder `<storage.root>/<name>` of a sweep"
    return f"{advice}; {parent} has the runs {_listed(runs)}" if runs else advice


def _contents(folder: Place) -> str:
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    return _listed(names) if names else "an empty folder"


def _listed(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
