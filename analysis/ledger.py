"""Ledger of a run: run.json and trials/<id>.json, the only truth about it. Light to import: no torch, no pandas.

The leaderboard, the Optuna study and W&B are derived from these records and can be rebuilt from them.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from analysis.run_folder import RunFolder
from analysis.run_store import write_atomically
from search_spaces.errors import InvalidInput, closest
from trainables.config import Objective
from trainables.result import SCHEMA_VERSION, TrialResult
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

READERS = 32

Record = TypeVar("Record", bound=BaseModel)


class Extension(BaseModel):
    """Extension: change of a run by `thaw extend`."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    at: AwareDatetime
    """Time of the extension, with its time zone."""

    changes: tuple[str, ...]
    """Changed keys of the sweep file, each as `key: old -> new`."""

    first_trial: int
    """Number of the first trial that began after the extension."""


class RunRecord(BaseModel):
    """RunRecord: facts that all trials of a run share; written before the first trial starts."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    schema_version: int = SCHEMA_VERSION
    """Version of the layout of this record and of the trials' records."""

    name: str
    """Name of the sweep."""

    uid: str | None = None
    """Random identifier of the run, the first part of its ids in W&B; None in a run of an older version."""

    objective: Objective
    """Objective that ranks the trials."""

    space: dict[str, Any]
    """Search space as written in the sweep file."""

    distributions: dict[str, Any]
    """Optuna's distribution, as JSON, of each parameter of the space."""

    created: AwareDatetime
    """Time at which the run was launched, with its time zone."""

    classes: tuple[str, ...]
    """Names of the classes in the order of the model's outputs."""

    fingerprint: str
    """Fingerprint of the data set."""

    sample_counts: dict[str, int]
    """Images by split."""

    trials_planned: int = Field(ge=0)
    """Number of trials that the sweep asked for."""

    probe: dict[str, float] = Field(default_factory=dict)
    """Objective of a linear probe of each architecture, where the sweep asked for probes."""

    driven_seconds: float = Field(default=0, ge=0)
    """Seconds that drivers have been at work on the run, summed over all drivers; updated about once a minute."""

    ended: str | None = None
    """Budget that ended the run, with its figures; None while no budget has."""

    extensions: tuple[Extension, ...] = ()
    """Every `thaw extend`, in order."""

    versions: dict[str, str]
    """Versions of thaw, Python and the libraries that determine the numbers."""


class Ledger:
    """Ledger: the records of one run, read and written."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._lock = threading.Lock()

    def write_run(self, record: RunRecord) -> None:
        """Replace run.json. Raises ThawError when the folder cannot be written."""
        write_record(self.run.run_json, record)

    def read_run(self) -> RunRecord:
        """Read the record of the run. Raises InvalidInput naming the file when it is missing or cannot be used."""
        return read_record(self.run.run_json, RunRecord)

    def update_run(self, **changes: Any) -> None:
        """Replace fields of run.json; threads that share this ledger take turns. Raises as reading and writing do."""
        with self._lock:
            self.write_run(self.read_run().model_copy(update=changes))

    def write_trial(self, result: TrialResult) -> None:
        """Replace the record of one trial. Raises ThawError when the folder cannot be written."""
        write_record(self.run.trial(result.trial_id), result)

    def read_trial(self, trial_id: str) -> TrialResult:
        """Read the record of one trial. Raises InvalidInput when there is none or it cannot be used."""
        path = self.run.trial(trial_id)
        if not path.is_file():
            ids = [file.stem for file in self._files()]
            remedy = closest(trial_id, ids) if ids else "the run has no trials yet"
            raise InvalidInput(f"{self.run.root}: no trial has the id {trial_id!r}; {remedy}")
        return _read_trial(path)

    def trials(self) -> list[TrialResult]:
        """Read all trials in the order of their ids. Raises InvalidInput naming the first file that cannot be used."""
        files = self._files()
        if not isinstance(self.run.trials, BucketPath):
            return [_read_trial(path) for path in files]
        # One request to a bucket takes as long as a hundred records of a disk, but many requests can run at once.
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            return list(pool.map(_read_trial, files))

    def _files(self) -> list[Place]:
        # A killed writer leaves files that end in `.tmp`.
        files = [path for path in self.run.trials.glob("*.json") if not path.name.startswith(".")]
        return sorted(files, key=lambda path: by_id(path.stem))


def by_id(trial_id: str) -> tuple[int, str]:
    """Return the sort key of a trial id: 10000 comes after 9999."""
    return len(trial_id), trial_id


def write_record(path: Place, record: BaseModel) -> None:
    """Replace the JSON file `path` as a whole by `record`. Raises ThawError when it cannot be written."""
    values = record.model_dump(mode="json", exclude_none=True)
    write_atomically(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_record(path: Place, model: type[Record]) -> Record:
    """Read the `model` from the JSON file `path`, of this or an older schema version; unknown fields are ignored.

    Raises InvalidInput naming the file when it is missing, is not JSON, is of a newer version or lacks a field.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: a record must be a readable file, got: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path}: a record must be JSON, got: {error}; restore the file, or delete it to do without it"
        ) from error
    version = values.get("schema_version", SCHEMA_VERSION) if isinstance(values, dict) else SCHEMA_VERSION
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InvalidInput(
            f"{path}: schema_version must be at most {SCHEMA_VERSION}, got {version}; "
            "the run was written by a newer thaw, upgrade this one"
        )
    try:
        return model.model_validate(values, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the record"
        raise InvalidInput(
            f"{path}: {key}: {first['msg']}; the record was damaged or edited: restore the file, or delete it"
        ) from error


def _read_trial(path: Place) -> TrialResult:
    result = read_record(path, TrialResult)
    if result.trial_id != path.stem:
        raise InvalidInput(
            f"{path}: trial_id must be the name of the file, got {result.trial_id!r}; "
            "the file was copied or renamed: move it out of the run"
        )
    return result
