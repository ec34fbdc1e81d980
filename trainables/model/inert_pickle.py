"""Pickles that are read and never run: containers and plain values are made, everything else is an inert note of it.

The base is Python's unpickler in Python, of which each step that could call or change something is replaced. (The one
in C reserves memory for the largest index that a file names; and keys are hashed there, which tuples of tuples of
tuples delay without end.)
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

_PLAIN = (str, int, float, bytes, type(None))


@dataclass(eq=False, slots=True)
class Inert:
    """Object of a pickle that was not made: the name of its class or function, its entries and its state."""

    name: str
    entries: dict[Any, Any] = field(default_factory=dict)
    state: Any = None


class InertUnpickler(pickle._Unpickler):
    """Reader of one pickle after the other from a file. `names` collects what they would have imported.

    `makers` are the functions that are called, by the names under which a pickle asks for them. `values` are the
    constants it may name. `persistent` makes what a pickle refers to by a persistent id.
    """

    # What the base sets while it reads; its stubs hold its public names alone.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        file: BinaryIO,
        makers: Mapping[str, Callable[..., Any]],
        values: Mapping[str, Any],
        persistent: Callable[[Any], Any],
    ) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.makers = {**_CONTAINERS, **makers}
        self.values = values
        self.persistent = persistent
        self.names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Return a constant, or a note of the name; nothing is imported."""
        found = f"{module}.{name}"
        self.names.add(found)
        return self.values.get(found) if found in self.values else Inert(found)

    def persistent_load(self, pid: Any) -> Any:
        """Return what a persistent id stands for."""
        return self.persistent(pid)

    def made(self, called: Any, arguments: Any) -> Any:
        """Return what a pickle gets for a call: from the maker of that name, or a note."""
        if not isinstance(called, Inert):
            raise pickle.UnpicklingError(f"a call of a {type(called).__name__}")
        return self.makers[called.name](*arguments) if called.name in self.makers else Inert(called.name)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], arguments)

    def _new_with_keywords(self) -> None:
        self.stack.pop()
        self._reduce()

    def _instantiate(self, klass: Any, arguments: list[Any]) -> None:
        self.append(self.made(klass, arguments))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _insert(self.stack[-1], [key, value])

    def _set_marked(self) -> None:
        items = self.pop_mark()
        _insert(self.stack[-1], items)

    def _new_mapping(self) -> None:
        items = self.pop_mark()
        self.append({})
        _insert(self.stack[-1], items)

    def _append(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def _append_marked(self) -> None:
        items = self.pop_mark()
        _extend(self.stack[-1], items)

    def _new_set(self) -> None:
        self.append(_set())

    def _new_frozen_set(self) -> None:
        self.append(_set(self.pop_mark()))

    def _add_marked(self) -> None:
        items = self.pop_mark()
        _insert(self.stack[-1], [part for item in items for part in (item, None)])

    def _bytes(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self.append(self.read(size))

    def _extension(self) -> None:
        raise pickle.UnpicklingError("an extension of another program")

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.BUILD[0]: _build,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_marked,
        pickle.DICT[0]: _new_mapping,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _append_marked,
        pickle.EMPTY_SET[0]: _new_set,
        pickle.ADDITEMS[0]: _add_marked,
        pickle.FROZENSET[0]: _new_frozen_set,
        pickle.BYTEARRAY8[0]: _bytes,
        pickle.EXT1[0]: _extension,
        pickle.EXT2[0]: _extension,
        pickle.EXT4[0]: _extension,
    }


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """Make the dictionary of an OrderedDict, which Python 2 wrote as a list of pairs."""
    made: dict[Any, Any] = {}
    for pair in _used_up(arguments):
        if isinstance(pair, list | tuple) and len(pair) == 2:
            _insert(made, list(pair))
    return made


def _set(*arguments: Any) -> Inert:
    made = Inert("builtins.set")
    _insert(made, [part for item in _used_up(arguments) for part in (item, None)])
    return made


def _used_up(arguments: Sequence[Any]) -> list[Any]:
    """Return the elements of a list, which is empty from then on: one that many names repeat is read once."""
    if not arguments or not isinstance(arguments[0], list):
        return []
    items, arguments[0][:] = [*arguments[0]], []
    return items


def _insert(target: Any, items: list[Any]) -> None:
    """Add keys and values, which alternate; only plain keys, which are hashed at once."""
    entries = target.entries if isinstance(target, Inert) else target
    if not isinstance(entries, dict):
        raise pickle.UnpicklingError(f"entries of a {type(target).__name__}")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, _PLAIN):
            entries[key] = value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Inert):
        raise pickle.UnpicklingError(f"elements of a {type(target).__name__}")


_CONTAINERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _mapping,
    "builtins.set": _set,
    "__builtin__.set": _set,
}
