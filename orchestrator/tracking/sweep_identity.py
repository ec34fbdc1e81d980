"""SweepIdentity: how services that several sweeps share tell the runs of one sweep from those of others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder


@dataclass(frozen=True)
class SweepIdentity:
    """SweepIdentity: name and uid of a sweep."""

    name: str
    """Name of the sweep; several folders may hold sweeps of one name."""

    uid: str | None = None
    """Random identifier of the run; None for a run of an older version."""

    attempts: Mapping[str, int] = field(default_factory=dict)
    """Number of the id of each trial that was sent again under a new id, and of the retraining; 1 for the others."""

    confirms: str | None = None
    """Group of the run whose finalists are confirmed; None for a search."""

    @classmethod
    def of(cls, run: RunFolder) -> Self:
        """Read the identity of a run. Raises InvalidInput when its record cannot be used."""
        record = Ledger(run).read_run()
        return cls(record.name, record.uid, record.attempts, record.confirms)

    @property
    def group(self) -> str:
        """Name under which a service shows the runs of the sweep."""
        if self.confirms is not None:
            return self.confirms
        return self.name if self.uid is None else f"{self.name}-{self.uid}"

    @property
    def job(self) -> Literal["trial", "confirm"]:
        """Kind of the sweep's trials."""
        return "trial" if self.confirms is None else "confirm"

    def id_of(self, name: str) -> str:
        """Return the id of a trial, or of another run of the sweep."""
        return self._id(name, self.attempts.get(name, 1))

    def earlier_ids(self, name: str) -> list[str]:
        """Return the ids that a trial had before."""
        return [self._id(name, attempt) for attempt in range(1, self.attempts.get(name, 1))]

    def _id(self, name: str, attempt: int) -> str:
        return f"{self.name if self.uid is None else self.uid}-{name}" + (f"-{attempt}" if attempt > 1 else "")
