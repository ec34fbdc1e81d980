"""Identity of a run: the random uid in its record, which a copied run must not share with its original."""

import secrets
from dataclasses import replace

from analysis.heartbeat import Heartbeat
from analysis.ledger import Ledger, read_record
from analysis.run_folder import RunFolder, open_run
from search_spaces.errors import InvalidInput
from trainables.storage.place import as_place


def new_uid() -> str:
    """Return a uid for a new run: 12 hex digits."""
    return secrets.token_hex(6)


def current_uid(run: RunFolder) -> str | None:
    """Return the uid of a run that this process has claimed; a new one for a copy whose original still exists.

    A moved run keeps its uid. None for a run of an older version. Raises InvalidInput when the record cannot be used.
    """
    uid = Ledger(run).read_run().uid
    former = _former_root(run)
    if uid is None or not former or former == str(run.root.resolve()):
        return uid
    try:
        is_copy = Ledger(open_run(as_place(former))).read_run().uid == uid
    except InvalidInput:  # no run any more: it was moved
        return uid
    return new_uid() if is_copy else uid


def _former_root(run: RunFolder) -> str:
    """Return where the driver before this one found the run; the empty text where that is not known."""
    former = replace(run, driver=run.driver - 1)
    if run.driver == 1 or not former.heartbeat.is_file():
        return ""
    return read_record(former.heartbeat, Heartbeat).root
