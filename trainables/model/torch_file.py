"""Files that torch.save wrote: their pickle as plain values, and the tensors that are asked for.

Nothing in a file is run. The pickle is read as notes of tensors; only those of the weights are then made from their
bytes, within the bounds of what the file holds. (torch.load with `weights_only` refuses a file for one foreign class
beside its weights, and trusts the sizes that a file claims; with a `pickle_module` the second remains.)
"""

import mmap
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from search_spaces.user_files import WEIGHTS, open_user_file
from trainables.model.inert_pickle import InertUnpickler

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGEST_PICKLE = 64 * 2**20
_MOST_UNPACKED = 4
"""Largest sum of what an archive holds, as a multiple of its own size: torch.save packs nothing."""

_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
    "QInt32": torch.int32,
    "QInt8": torch.int8,
    "QUInt8": torch.uint8,
}


@dataclass(frozen=True)
class StorageClaim:
    """Claim of a pickle on bytes of its file: `count` elements of a type, under a key."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """Note of a tensor in a file. `fault` says why it cannot be made: quantized, sparse, ..."""

    storage: StorageClaim | None = None
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    fault: str | None = None


@dataclass
class TorchFile:
    """File that torch.save wrote. `value` is what it holds, with a StoredTensor for each tensor, and Inert objects."""

    value: Any
    names: set[str]
    read: Callable[[StorageClaim], bytes]

    def tensors(self, notes: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Make tensors from their bytes; those that shared memory share it. Raises NoTorchFile for a false claim."""
        memory: dict[tuple[str, torch.dtype], Tensor] = {}
        with _explained(self.names):
            return {name: _tensor(note, self.read, memory) for name, note in notes.items()}


class NoTorchFile(ValueError):
    """NoTorchFile: content that torch.save cannot have written; `names` are what its pickle would have imported."""

    def __init__(self, message: str, names: set[str]) -> None:
        super().__init__(message)
        self.names = names


@contextmanager
def open_torch_file(path: Path) -> Iterator[TorchFile]:
    """Read the pickle of a file. Raises NoTorchFile, and InvalidInput for what is no regular file."""
    with open_user_file(path, WEIGHTS) as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise NoTorchFile(str(error), set()) from error
        with content:
            yield (_read_archive if content[:4] == b"PK\x03\x04" else _read_legacy)(content, file)


def _read_archive(content: mmap.mmap, file: BinaryIO) -> TorchFile:
    names: set[str] = set()
    with _explained(names):
        archive = zipfile.ZipFile(file)
        root = archive.namelist()[0].split("/")[0]
        members = {entry.filename.removeprefix(f"{root}/"): entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in members.values()) > _MOST_UNPACKED * len(content) + 2**20:
            raise ValueError("a small archive that unpacks to a huge one")
        if any(entry.compress_size > len(content) for entry in members.values()):  # zipfile would reserve it
            raise ValueError("an archive that claims more bytes than it has")
        if "constants.pkl" in members:
            raise ValueError("a TorchScript program")
        if "data.pkl" not in members:
            raise ValueError("an archive without data.pkl")
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise ValueError("numbers of a big-endian machine")
        if members["data.pkl"].file_size > _LARGEST_PICKLE:
            raise ValueError(f"a pickle of more than {_LARGEST_PICKLE:,} bytes")
        value = _Pickles(BytesIO(archive.read(members["data.pkl"])), names).load()

    def read(storage: StorageClaim) -> bytes:
        entry = members[f"data/{storage.key}"]
        if entry.compress_type != zipfile.ZIP_STORED:
            return archive.read(entry)
        # Not archive.read: torch can be told to write no checksums, and checks none.
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        start = entry.header_offset + 30 + name + extra
        return content[start : start + entry.file_size]

    return TorchFile(value, names, read)


def _read_legacy(content: mmap.mmap, file: BinaryIO) -> TorchFile:
    """Read the format before torch 1.6: four pickles, the names of the storages, and their bytes in that order."""
    names: set[str] = set()
    with _explained(names):
        pickles = _Pickles(content, names)
        if pickles.load() != _LEGACY_MAGIC:
            raise ValueError("a pickle that torch.save did not write")
        pickles.load()  # version of the protocol
        if not pickles.load().get("little_endian", True):
            raise ValueError("numbers of a big-endian machine")
        value, keys = pickles.load(), pickles.load()
        places: dict[str, tuple[int, int]] = {}
        position = content.tell()
        for key in keys:
            (count,) = struct.unpack_from("<q", content, position)
            size = count * pickles.storages[key].itemsize
            places[key] = (position + 8, size)
            position += 8 + size
            if not 0 <= size <= len(content) - places[key][0]:
                raise ValueError("fewer bytes than its tensors need")

    def read(storage: StorageClaim) -> bytes:
        start, size = places[storage.key]
        return content[start : start + size]

    return TorchFile(value, names, read)


@contextmanager
def _explained(names: set[str]) -> Iterator[None]:
    """Turn whatever a damaged file leads to, in whichever opcode or record, into NoTorchFile."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise NoTorchFile(f"{type(error).__name__}: {error}", names) from error


class _Pickles:
    """Pickles of a file, one after the other, and the types of the storages that they name."""

    def __init__(self, file: Any, names: set[str]) -> None:
        self.file = file
        self.names = names
        self.storages: dict[str, torch.dtype] = {}

    def load(self) -> Any:
        """Read the next pickle."""
        unpickler = InertUnpickler(self.file, self._makers(), _VALUES, self._storage)
        unpickler.names = self.names
        return unpickler.load()

    def _storage(self, pid: Any) -> StorageClaim | None:
        if not isinstance(pid, tuple) or pid[0] not in ("storage", b"storage") or not isinstance(pid[1], torch.dtype):
            return None
        kind, key, count = pid[1], str(pid[2]), int(pid[4])
        if pid[5:] not in ((), (None,)):
            raise pickle.UnpicklingError("a view of a storage, as torch before 0.4 wrote")
        self.storages[key] = kind
        return StorageClaim(key, kind, count)

    def _makers(self) -> dict[str, Callable[..., Any]]:
        faults = {
            "torch._utils._rebuild_qtensor": "quantized",
            "torch._utils._rebuild_sparse_tensor": "sparse",
            "torch._utils._rebuild_sparse_csr_tensor": "sparse",
            "torch._utils._rebuild_nested_tensor": "nested",
            "torch._utils._rebuild_meta_tensor_no_storage": "on the device meta, without values",
            "torch._utils._rebuild_wrapper_subclass": "of a class of its own",
        }
        return {
            "torch._utils._rebuild_tensor": _note,
            "torch._utils._rebuild_tensor_v2": _note,
            "torch._utils._rebuild_tensor_v3": _typed_note,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            "torch._tensor._rebuild_from_type_v2": lambda made, _, arguments, __: self._again(made, arguments),
            **{name: _faulty(fault) for name, fault in faults.items()},
        }

    def _again(self, made: Any, arguments: Any) -> Any:
        """Call what a pickle asks for inside of a call of it, as for a tensor that carries Python attributes."""
        makers = self._makers()
        name = getattr(made, "name", "")
        if name == "torch._tensor._rebuild_from_type_v2" or name not in makers:
            return None
        return makers[name](*arguments)


def _faulty(fault: str) -> Callable[..., StoredTensor]:
    return lambda *_: StoredTensor(fault=fault)


def _note(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = None,
    hooks: Any = None,
    metadata: Any = None,
    dtype: Any = None,
) -> StoredTensor:
    if not isinstance(storage, StorageClaim):
        return StoredTensor(fault="without bytes of its own in the file")
    if metadata:
        return StoredTensor(fault="conjugated or negated when it is read")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(number, int) and 0 <= number < 2**62 for number in numbers):
        raise pickle.UnpicklingError("a tensor of an impossible shape")
    return StoredTensor(storage, offset, tuple(size), tuple(stride), dtype or storage.dtype)


def _typed_note(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> StoredTensor:
    """Note a tensor of a type that has no storages of its own, such as float8."""
    if not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("a tensor without a type")
    return _note(storage, offset, size, stride, requires_grad, hooks, metadata, dtype)


def _tensor(
    note: StoredTensor, read: Callable[[StorageClaim], bytes], memory: dict[tuple[str, torch.dtype], Tensor]
) -> Tensor:
    if note.storage is None or note.dtype is None:
        raise ValueError(f"a tensor that is {note.fault}")
    elements = memory.get((note.storage.key, note.dtype))
    if elements is None:
        elements = _elements(read(note.storage), note.dtype)
        memory[note.storage.key, note.dtype] = elements
    if 0 in note.size:
        return torch.empty(note.size, dtype=note.dtype)
    last = note.offset + sum((size - 1) * stride for size, stride in zip(note.size, note.stride, strict=True))
    if last >= len(elements):
        raise ValueError(f"a tensor that ends at element {last} of {len(elements)}")
    return elements.as_strided(note.size, note.stride, note.offset)


def _elements(content: bytes, dtype: torch.dtype) -> Tensor:
    """Return the elements (n,) of a storage."""
    count = len(content) // dtype.itemsize
    return torch.frombuffer(bytearray(content), dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _values() -> dict[str, Any]:
    """Return the constants that a pickle of tensors names: types of storages and of elements."""
    dtypes = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    typed = {f"torch.{name}Storage": dtype for name, dtype in _STORAGES.items()}
    untyped = dict.fromkeys(("torch.UntypedStorage", "torch.storage.UntypedStorage"), torch.uint8)
    return {**dtypes, **typed, **untyped}


_VALUES = _values()
