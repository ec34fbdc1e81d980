"""Index of a run's records: what a leaderboard shows of each, so that ten thousand need not be read again.

`trials/.index.json` is a cache, written by readers and by the driver at the end of a sweep. It may be deleted at any
time. A record counts as known while its file has the inode, the time of change and the size that it had when it was
read; it is replaced as a whole, so that each version has another inode. The index of another version of thaw, of
another objective, or with a wrong checksum is not used.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from analysis.condensed_trial import CondensedTrial, Condenser
from analysis.ledger import Ledger, file_version
from analysis.run_store import write_atomically
from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.user_files import RECORD, read_user_file
from trainables.config import Objective, TrialConfig
from trainables.data_config import DataConfig
from trainables.result import TrialResult
from trainables.storage.bucket import BucketPath
from trainables.storage.place import Place

UNKNOWN_RECORDS = 500
"""Records that an index must lack before it is written anew: fewer are read in a tenth of a second."""

RECENT_SECONDS = 2.0
"""A record that changed so shortly ago is left out: two changes within the resolution of its time look alike."""

# An annotation may name a function by its address in memory, which is another one in each process.
_FIELDS = [
    (model.__name__, name, re.sub(r" at 0x[0-9a-f]+", "", str(each.annotation)), repr(each.default))
    for model in (TrialResult, TrialConfig, DataConfig, Objective)
    for name, each in model.model_fields.items()
]
_LAYOUT = repr([1, _FIELDS])
"""Version of the layout of a row, and the fields of records with their defaults."""

_Version = tuple[int, int, int]


class IndexedLedger(Ledger):
    """IndexedLedger: a ledger whose trials are condensed where its index knows them, for the leaderboard of one run.

    A run in a bucket has no index.
    """

    def _read(self, files: Mapping[str, Place]) -> list[TrialResult | InvalidInput]:
        folder = self.run.trials
        if isinstance(folder, BucketPath) or len(files) < UNKNOWN_RECORDS:
            return super()._read(files)
        index = _Index(folder / ".index.json", self.read_run().objective)
        began = time.time()
        versions = {trial_id: file_version(path) for trial_id, path in files.items()}
        known = {trial_id: index.find(path.name, versions[trial_id]) for trial_id, path in files.items()}
        unknown = {trial_id: files[trial_id] for trial_id, trial in known.items() if trial is None}
        read = dict(zip(unknown, super()._read(unknown), strict=True))
        if len(unknown) >= UNKNOWN_RECORDS:
            kept = {
                files[trial_id].name: (version, read.get(trial_id))
                for trial_id, version in versions.items()
                if version is not None and began - version[1] / 1e9 > RECENT_SECONDS
            }
            index.write(kept)
        return [trial or read[trial_id] for trial_id, trial in known.items()]


class _Index:
    """Rows of the index file, by the names of records, each with the version of its record."""

    def __init__(self, path: Path, objective: Objective) -> None:
        self._path = path
        self._objective = objective
        self._rows: dict[str, list[Any]] = {}
        self._condenser: Condenser | None = None
        content = self._content()
        if content is not None:
            self._rows = content["rows"]
            self._condenser = Condenser(objective, TrialConfig.model_validate(content["config"]))

    def find(self, name: str, version: _Version | None) -> CondensedTrial | None:
        """Return the trial of a record in this version; None where the index does not know it."""
        if self._condenser is None or version is None or name not in self._rows:
            return None
        known, row = self._rows[name]
        return self._condenser.trial(row) if tuple(known) == version else None

    def write(self, records: Mapping[str, tuple[_Version, TrialResult | InvalidInput | None]]) -> None:
        """Replace the file by rows of these records, by their names; a record without a trial keeps its row."""
        read = [trial for _, trial in records.values() if isinstance(trial, TrialResult)]
        if not read:
            return
        condenser = self._condenser or Condenser(self._objective, read[0].config)
        rows = {}
        for name, (version, trial) in records.items():
            row = self._rows[name][1] if trial is None else None
            if isinstance(trial, TrialResult):
                row = condenser.row(trial)
            if row is not None:
                rows[name] = [version, row]
        base = condenser.base.model_dump(mode="json", exclude_none=True)
        body = json.dumps({"config": base, "rows": rows}, separators=(",", ":"))
        # A reader who may not write here, or finds the disk full, does without an index.
        with suppress(StorageFailed):
            write_atomically(self._path, f"{self._checksum(body.encode())}\n{body}")

    def _content(self) -> dict[str, Any] | None:
        """Return the content of the file; None where there is none, or one that cannot be used."""
        try:
            head, _, body = read_user_file(self._path, RECORD).partition(b"\n")
        except (OSError, InvalidInput):
            return None
        if head.decode(errors="replace") != self._checksum(body):
            return None
        content: dict[str, Any] = json.loads(body)
        return content

    def _checksum(self, body: bytes) -> str:
        """Return the first line of the file, which is another one for another layout, objective or content."""
        return hashlib.sha256(b"\n".join([_LAYOUT.encode(), repr(self._objective).encode(), body])).hexdigest()
