"""Ledger of a run: run.json and trials/<id>.json, the only truth about it. Light to import: no torch, no pandas.

The leaderboard, the Optuna study and W&B are derived from these records and can be rebuilt from them.
"""

import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from analysis.run_folder import Generation, RunFolder, claimed_run
from analysis.run_store import RunStore, write_atomically
from search_spaces.errors import InvalidInput, closest
from search_spaces.permissions import check_readable, missing_permission
from search_spaces.user_files import RECORD
from trainables.config import Objective
from trainables.result import SCHEMA_VERSION, TrialResult
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place, read_place

READERS = 32
_RECORD = re.compile(r"(?P<id>\d{4,})(?:\.(?P<generation>[1-9]\d*))?\.json")

Record = TypeVar("Record", bound=BaseModel)


class Extension(BaseModel):
    """Extension: change of a run by `thaw extend`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: AwareDatetime
    """Time of the extension, with its time zone."""

    changes: tuple[str, ...]
    """Changed keys of the sweep file, each as `key: old -> new`."""

    first_trial: int
    """Number of the first trial that began after the extension."""


class RunRecord(BaseModel):
    """RunRecord: facts that all trials of a run share; written before the first trial starts."""

    model_config = ConfigDict(extra="ignore", frozen=True)

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

    confirms: str | None = None
    """Group in W&B of the run whose finalists are trained again here; None for a search."""

    created: AwareDatetime
    """Time at which the run was launched, with its time zone."""

    classes: tuple[str, ...]
    """Names of the classes in the order of the model's outputs."""

    fingerprint: str
    """Fingerprint of the data set."""

    sources: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each file of weights and of each teacher that trials read, by its path."""

    sample_counts: dict[str, int]
    """Images by split."""

    class_counts: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Images of each class, in the order of the classes, by split; empty in a run of an older version."""

    photo_sizes: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Smallest value, 10 %, median, 90 % and largest of `width` and `height` of a sample of the photos, in pixels."""

    skipped_images: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Images left out as they cannot be decoded (`data.on_bad_image: skip`): their errors by path, by split."""

    data_remarks: tuple[str, ...] = ()
    """Sentences on images that are equal or alike in two splits or under two labels, without names."""

    trials_planned: int = Field(ge=0)
    """Number of trials that the sweep asked for."""

    probe: dict[str, float] = Field(default_factory=dict)
    """Objective of a linear probe of each architecture, where the sweep asked for probes."""

    driven_seconds: float = Field(default=0, ge=0)
    """Seconds that drivers have been at work on the run, summed over all drivers; updated about once a minute."""

    ended: str | None = None
    """Budget that ended the run, with its figures; None while no budget has."""

    attempts: dict[str, int] = Field(default_factory=dict)
    """Number of the id in W&B of each trial that was sent there again under a new id."""

    extensions: tuple[Extension, ...] = ()
    """Every `thaw extend`, in order."""

    metrics_version: int = 1
    """Version of the definitions of the metrics, see `METRICS_VERSION`; 1 in a run of an older version."""

    versions: dict[str, str]
    """Versions of thaw, Python and the libraries that determine the numbers."""


class Ledger:
    """Ledger: the records of one run. It reads the newest generation, and writes that of `run`."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.problems: tuple[str, ...] = ()
        """Files in `trials/` that `trials` could not use, one sentence each."""
        self._lock = threading.Lock()

    def write_run(self, record: RunRecord) -> None:
        """Replace run.json. Raises ThawError when the folder cannot be written."""
        write_record(self.run.run_json, record)

    def read_run(self) -> RunRecord:
        """Read the record of the run. Raises InvalidInput naming the file when it is missing or cannot be used."""
        return read_record(RunStore(self.run).newest(lambda layer: layer.run_json), RunRecord)

    def update_run(self, **changes: Any) -> None:
        """Replace fields of run.json; threads that share this ledger take turns. Raises as reading and writing do."""
        with self._lock:
            self.write_run(self.read_run().model_copy(update=changes))

    def write_trial(self, result: TrialResult) -> None:
        """Replace the record of one trial. Raises ThawError when the folder cannot be written."""
        write_record(self.run.trial(result.trial_id), result)

    def adopt(self, trials: Iterable[TrialResult]) -> None:
        """Write records of an earlier generation into this one, and delete the old files."""
        for trial in trials:
            self.write_trial(trial)
            for layer in [*self.run.layers()][1:]:
                layer.trial(trial.trial_id).unlink(missing_ok=True)

    def read_trial(self, trial_id: str) -> TrialResult:
        """Read the record of one trial. Raises InvalidInput when there is none or it cannot be used."""
        path = None
        while True:
            former, path = path, self.path(trial_id)
            found = _readable_trial(path, trial_id)
            if isinstance(found, TrialResult):
                return found
            if path == former or not _has_vanished(found):
                raise found

    def path(self, trial_id: str) -> Place:
        """Return the file of the record that counts for a trial. Raises InvalidInput when there is none."""
        self.run.trial(trial_id)  # raises InvalidInput for a text that is no file name
        files = self._files()
        if trial_id not in files:
            remedy = closest(trial_id, files) if files else "the run has no trials yet"
            raise InvalidInput(f"{self.run.root}: no trial has the id {trial_id!r}; {remedy}")
        return files[trial_id]

    def trials(self) -> list[TrialResult]:
        """Read all trials in the order of their ids. A file that cannot be used is left out; `problems` names it."""
        files: Mapping[str, Place] = {}
        while True:
            former, files = files, self._files()
            found = self._read(files)
            # A driver that begins a generation deletes records that it has copied: look for their copies.
            if files == former or not any(map(_has_vanished, found)):
                break
        self.problems = (*self.problems, *(str(trial) for trial in found if isinstance(trial, InvalidInput)))
        return [trial for trial in found if isinstance(trial, TrialResult)]

    def next_number(self) -> int:
        """Return the number after that of the last trial, be its record readable or not."""
        return 1 + max(map(int, self._files()), default=-1)

    def _read(self, files: Mapping[str, Place]) -> list[TrialResult | InvalidInput]:
        if isinstance(self.run.trials, BucketPath):
            # One request to a bucket takes as long as a hundred records of a disk, but many requests can run at once.
            with ThreadPoolExecutor(max_workers=READERS) as pool:
                return list(pool.map(_readable_trial, files.values(), files))
        return [_readable_trial(path, trial_id) for trial_id, path in files.items()]

    def _files(self) -> Mapping[str, Place]:
        """Return the file of each trial in the order of ids: that of the newest generation in which it may lie."""
        if isinstance(self.run.trials, Path):
            check_readable(self.run.trials)
        paths: list[Place] = [*self.run.trials.iterdir()] if self.run.trials.is_dir() else []
        # Read after the list: no record in it is then of a generation that is unknown here.
        generations = claimed_run(self.run.root).generations
        newest: dict[str, tuple[int, Place]] = {}
        foreign: list[str] = []
        for path in paths:
            found = _RECORD.fullmatch(path.name)
            if found is None:
                if not path.name.startswith("."):  # left by a writer that was killed
                    foreign.append(f"{path}: must be the record of a trial, e.g. 0007.json; move it out of the run")
                continue
            trial_id, generation = found["id"], int(found["generation"] or 1)
            if generation not in {each.number for each in generations}:
                foreign.append(
                    f"{path}: must be of a driver of the run, but none has the number {generation}; move it away"
                )
            if _counts(trial_id, generation, generations) and generation >= newest.get(trial_id, (0, path))[0]:
                newest[trial_id] = (generation, path)
        self.problems = tuple(sorted(foreign))
        return {trial_id: newest[trial_id][1] for trial_id in sorted(newest, key=by_id)}


class WatchedLedger(Ledger):
    """WatchedLedger: a ledger that is read again and again, and parses only the records that have changed."""

    def __init__(self, run: RunFolder) -> None:
        super().__init__(run)
        self._parsed: dict[Place, tuple[tuple[int, int, int], TrialResult]] = {}

    def _read(self, files: Mapping[str, Place]) -> list[TrialResult | InvalidInput]:
        if isinstance(self.run.trials, BucketPath):
            return super()._read(files)
        found = [self._newest(path, trial_id) for trial_id, path in files.items()]
        self._parsed = {path: self._parsed[path] for path in files.values() if path in self._parsed}
        return found

    def _newest(self, path: Place, trial_id: str) -> TrialResult | InvalidInput:
        version = file_version(path)  # before it is read: what is written meanwhile has another one
        known = self._parsed.get(path)
        if known is not None and known[0] == version:
            return known[1]
        self._parsed.pop(path, None)
        found = _readable_trial(path, trial_id)
        if version is not None and isinstance(found, TrialResult):
            self._parsed[path] = version, found
        return found


def _counts(trial_id: str, generation: int, generations: Sequence[Generation]) -> bool:
    """Return whether a record counts: a driver that was taken for dead may add trials after its successor began."""
    numbers = [each.number for each in generations]
    later = [each.first_trial for each in generations if each.number > generation and each.first_trial is not None]
    return generation in numbers and all(int(trial_id) < first for first in later)


def file_version(path: Place) -> tuple[int, int, int] | None:
    """Return inode, time of change and size of a file, which is replaced as a whole; None where that is not known."""
    if isinstance(path, BucketPath):
        return None
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size


def by_id(trial_id: str) -> tuple[int, str]:
    """Return the sort key of a trial id: 10000 comes after 9999."""
    return len(trial_id), trial_id


def write_record(path: Place, record: BaseModel) -> None:
    """Replace the JSON file `path` as a whole by `record`. Raises ThawError when it cannot be written."""
    write_atomically(path, record_text(record))


def record_text(record: BaseModel) -> str:
    """Return the text of a record's file: JSON without the fields that are None."""
    return json.dumps(record.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False) + "\n"


def read_record(path: Place, model: type[Record]) -> Record:
    """Read the `model` from the JSON file `path`, of this or an older schema version; unknown fields are ignored.

    Raises InvalidInput naming the file when it is missing, is not JSON, is of a newer version or lacks a field.
    """
    content = _readable_content(path)
    with suppress(ValidationError):  # `_checked` says why
        found = model.model_validate_json(content, extra="ignore")
        if getattr(found, "schema_version", SCHEMA_VERSION) <= SCHEMA_VERSION:
            return found
    return _checked(path, content, model)


def _checked(path: Place, content: bytes, model: type[Record]) -> Record:
    """Read a record by `json`: slower than pydantic's parser, but it takes lone surrogates and says what is wrong."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: a record must be JSON, got: {error}; {_remedy(model)}") from error
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
            f"{path}: {key}: {first['msg']}; the record was damaged or edited: {_remedy(model)}"
        ) from error


def _readable_content(path: Place) -> bytes:
    """Read a file that may be deleted at any moment. Raises InvalidInput naming it when it cannot be read."""
    try:
        return read_place(path, RECORD)
    except IsADirectoryError as error:
        raise InvalidInput(f"{path}: a record must be a file, got a folder; move it out of the run") from error
    except PermissionError as error:
        raise InvalidInput(missing_permission(Path(str(path)))) from error
    except OSError as error:
        raise InvalidInput(f"{path}: a record must be a readable file, got: {error.strerror or error}") from error


def _remedy(model: type[BaseModel]) -> str:
    return "restore the file" if model is RunRecord else "restore the file, or delete it to do without it"


def _read_trial(path: Place, trial_id: str) -> TrialResult:
    result = read_record(path, TrialResult)
    if result.trial_id != trial_id:
        raise InvalidInput(
            f"{path}: trial_id must be the name of the file, got {result.trial_id!r}; "
            "the file was copied or renamed: move it out of the run"
        )
    return result


def _readable_trial(path: Place, trial_id: str) -> TrialResult | InvalidInput:
    """Return a trial, or the reason why its record cannot be used. Raises InvalidInput without the right to read it."""
    try:
        return _read_trial(path, trial_id)
    except InvalidInput as error:
        if isinstance(error.__cause__, PermissionError):  # of the reader, not of the record
            raise
        return error


def _has_vanished(found: TrialResult | InvalidInput) -> bool:
    return isinstance(found, InvalidInput) and isinstance(found.__cause__, FileNotFoundError)
