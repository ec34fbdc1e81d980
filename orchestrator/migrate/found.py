"""Values of an old configuration that are understood so far, and the entries that are not."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.migrate.vocabulary import Subject
from search_spaces.errors import InvalidInput, shown

_REMEDIES: Mapping[Subject, str] = {
    "freezing": "set `strategy` in the new file: head, partial, progressive, gradual or full",
    "balance": "set `balance` in the new file: none, sampler or loss",
    "weights": "set `weights` in the new file: pretrained, none or a path",
}


class FoundValues:
    """FoundValues: values by setting, each with the key it came from."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.values: dict[str, Any] = {}
        self.keys: dict[str, str] = {}
        self.unknown: list[str] = []
        self.notes: list[str] = []
        self._refused: list[str] = []

    def put(self, setting: str, value: Any, key: str) -> None:
        """Keep a value. Raises InvalidInput when another key gave a different one."""
        if setting in self.values and self.values[setting] != value:
            raise InvalidInput(
                f"{self.source}: {self.keys[setting]} and {key} must agree, got {shown(self.values[setting])} and "
                f"{shown(value)}; remove one of them"
            )
        if setting not in self.values:
            self.values[setting], self.keys[setting] = value, key

    def take(self, setting: str) -> Any:
        """Remove a value and return it; None where there is none. Its key stays."""
        return self.values.pop(setting, None)

    def prefix(self, setting: str) -> str:
        """Return the prefix for the name of a setting in a message: the key it came from."""
        return f"{self.keys[setting]} -> " if setting in self.keys else ""

    def keys_of(self, settings: Sequence[str]) -> str:
        """Return the keys that gave these settings, with commas between them."""
        return ", ".join(self.keys[setting] for setting in settings if setting in self.keys)

    def miss(self, key: str, value: Any, reason: str, subject: Subject | None = None) -> None:
        """Keep an entry that is not understood; one about a subject is refused in `check`."""
        if subject is None:
            self.unknown.append(f"{key}: {short_value(value)}" + (f" ({reason})" if reason else ""))
        else:
            self.refuse(subject, f"{key}: must be understood, got {shown(value)}" + (f": {reason}" if reason else ""))

    def refuse(self, subject: Subject, problem: str) -> None:
        """Keep a problem that `check` raises: without this entry the trial could be the opposite of what was meant."""
        self._refused.append(f"{self.source}: {problem}; remove it, and {_REMEDIES[subject]}")

    def check(self) -> None:
        """Raise InvalidInput, one line per entry, for all that was refused."""
        if self._refused:
            raise InvalidInput("\n".join(self._refused))


def short_value(value: Any) -> str:
    """Return a value in one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
