import collections
import io
import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from trainables.model.inert_pickle import Inert, InertUnpickler


def read(content: bytes) -> tuple[Any, set[str]]:
    unpickler = InertUnpickler(io.BytesIO(content), {}, {}, lambda pid: pid)
    return unpickler.load(), unpickler.names


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_containers_are_read(protocol: int) -> None:
    value = {
        "a": [1, -(2**70), 0.5, "ä", b"b", None, True, (), (1,), (1, 2), (1, 2, 3, 4)],
        1: {"x": []},
        "o": collections.OrderedDict([("k", 1), ("l", 2)]),
        "d": collections.defaultdict(list, {"m": 3}),
        "b": bytearray(b"xyz"),
    }
    found, _ = read(pickle.dumps(value, protocol))
    assert found["a"] == value["a"] or protocol < 3  # older ones write bytes as a call
    assert found["a"][:4] == value["a"][:4]  # type: ignore[index]
    assert (found[1], found["o"], found["d"]) == ({"x": []}, {"k": 1, "l": 2}, {"m": 3})


class Trap:
    """Object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Stateful:
    """Object whose class runs code when its state is set."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("was run")

    def __getstate__(self) -> Any:
        return {"a": 1}


@pytest.mark.parametrize("protocol", range(6))
def test_objects_become_notes_and_nothing_is_called(protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    traps = [
        Trap(os.system, f"touch {mark}"),
        Trap(eval, f"open({str(mark)!r}, 'w')"),
        Trap(exec, f"open({str(mark)!r}, 'w')"),
        Trap(subprocess.run, ["touch", str(mark)]),
        Trap(open, str(mark), "w"),
        Trap(getattr, os, "system") if protocol > 9 else Trap(getattr, "x", "upper"),
        Stateful(),
    ]
    found, names = read(pickle.dumps({"traps": traps, "good": 1}, protocol))
    assert not mark.exists()
    assert found["good"] == 1
    assert all(isinstance(trap, Inert) for trap in found["traps"])
    assert {name.rpartition(".")[2] for name in names} >= {"system", "eval", "exec", "run", "open", "getattr"}


MARK, STOP = b"(", b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"(S'touch mark'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch mark'\no.",  # OBJ
        b"cos\nsystem\n(S'touch mark'\ntR.",  # GLOBAL, REDUCE
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text("touch mark") + b"\x85R.",  # STACK_GLOBAL
        b"\x80\x04cos\nsystem\n" + text("touch mark") + b"\x85}\x92.",  # NEWOBJ_EX
        b"\x80\x02cos\nsystem\n" + text("touch mark") + b"\x85\x81.",  # NEWOBJ
        b"\x80\x02cbuiltins\nstr\n" + b"}" + text("__class__") + b"cos\nsystem\nsb.",  # BUILD of a type
    ],
)
def test_every_opcode_that_could_call_makes_a_note(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _ = read(content)
    assert isinstance(found, Inert)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "content",
    [
        text("a") + b"(tR.",  # a call of a text
        b"]" + text("k") + text("v") + b"s.",  # an entry of a list
        text("a") + text("b") + b"a.",  # an element of a text
        b"\x82\x01.",  # an extension
        b"\x96" + struct.pack("<Q", 2**60) + b"x.",  # 2**60 bytes that are not there
        b"\x8e" + struct.pack("<Q", 2**60) + b"x.",
        b"T" + struct.pack("<i", 2**31 - 1) + b"x.",
        b"",
        b"]",
        b"0",
        b"\xff",
    ],
)
@pytest.mark.timeout(10)
def test_a_pickle_that_is_not_well_formed_fails(content: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError, IndexError, KeyError)):
        read(content)


@pytest.mark.timeout(10)
def test_a_huge_index_costs_no_memory() -> None:
    found, _ = read(b"]r" + struct.pack("<I", 2**32 - 1) + b".")
    assert found == []


@pytest.mark.timeout(10)
def test_keys_that_would_be_hashed_for_ever_are_left_out() -> None:
    nested = b")" + b"2\x86" * 60  # a pair of pairs of pairs ...: 2**60 leaves
    found, _ = read(b"}(" + nested + b"K\x01" + text("a") + b"K\x02u.")
    assert found == {"a": 2}
    found, _ = read(b"\x8f(" + nested + b"\x90.")
    assert isinstance(found, Inert)
    assert found.entries == {}


def test_the_state_of_a_note_is_kept_and_nothing_else_gets_one() -> None:
    found, _ = read(pickle.dumps({"s": Stateful()}, 2))
    assert found["s"].state == {"a": 1}
    assert read(b"}}" + text("a") + b"K\x01sb.")[0] == {}
