"""Images as they were listed, and their division into splits or folds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from trainables.data.sources.division import divide
from trainables.data.sources.listing import Entries
from trainables.data.split.folds import divide_into_folds
from trainables.data_config import SplitShares

_OF_FOLDS = SplitShares(val=0.0, together="near_duplicates")


class Divided(NamedTuple):
    """Images in their splits."""

    entries: dict[str, list[tuple[str, str]]]
    """Pairs (path, class name) of each split; with folds, val holds the images of train."""

    folds: Mapping[str, int]
    """Fold of each path of train; empty without folds."""


@dataclass(frozen=True)
class Undivided:
    """Images as they were listed, and how Thaw divides them."""

    where: str
    """Name of the folder or manifest in messages."""

    entries: Entries
    """Pairs (path, class name) of train and, where it is there already, of test."""

    shares: SplitShares | None
    """Shares of the splits; None where only folds are made."""

    folds: int | None = None
    """Number of folds of train; None without folds."""

    marks: Mapping[str, str] = field(default_factory=dict)
    """Patient, scene or the like of each image by its path, where `shares.group_by` names it."""

    @property
    def rule(self) -> list[Any]:
        """Everything that decides the division beside the images; JSON-ready."""
        shares = None if self.shares is None else self.shares.model_dump()
        return [shares] if self.folds is None else [shares, {"folds": self.folds}]

    def divided(
        self,
        entries: Entries,
        digests: Mapping[str, str] = MappingProxyType({}),
        hashes: Mapping[str, int] = MappingProxyType({}),
    ) -> Divided:
        """Divide entries of these images; `digests` and perceptual `hashes` are by path. Raises InvalidInput."""
        found = dict(entries)
        if self.shares is not None and (self.folds is None or self.shares.test):
            found = divide(self.where, found, self.shares, digests, hashes, self.marks)
        if self.folds is None:
            return Divided(found, {})
        shares = self.shares or _OF_FOLDS
        folds = divide_into_folds(self.where, found["train"], self.folds, shares, digests, hashes, self.marks)
        return Divided({**found, "val": found["train"]}, folds)
