import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainables.model.torch_file import NoTorchFile, StoredTensor, open_torch_file

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.bool,
    torch.complex64,
]


def read(path: Path) -> dict[str, Tensor]:
    with open_torch_file(path) as file:
        return file.tensors({name: note for name, note in file.value.items() if isinstance(note, StoredTensor)})


@pytest.mark.parametrize("is_new", [True, False])
def test_tensors_are_those_that_torch_loads(is_new: bool, tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors: dict[str, Any] = {
        **{str(dtype): (torch.rand(3, 2) * 9).to(dtype) for dtype in DTYPES},
        "whole": base,
        "view": base[1:3, ::2],
        "turned": base.T,
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(7.0),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "gradient": torch.randn(2, requires_grad=True),
        "channels last": torch.randn(1, 2, 3, 3).to(memory_format=torch.channels_last),
    }
    tensors["attributed"] = torch.nn.Parameter(torch.randn(2))
    tensors["attributed"].mine = 1
    torch.save(tensors, tmp_path / "w", _use_new_zipfile_serialization=is_new)
    found = read(tmp_path / "w")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor.detach()), name


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: torch.eye(2).to_sparse(), "sparse"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse"),
        (lambda: torch.empty(2, device="meta"), "meta"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.tensor([1 + 1j]).conj(), "conjugated"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:.*quantize_per_tensor")
def test_tensors_that_are_no_numbers_in_memory_are_noted(
    make: Callable[[], Tensor], fault: str, tmp_path: Path
) -> None:
    torch.save({"a": make(), "b": torch.ones(1)}, tmp_path / "w")
    with open_torch_file(tmp_path / "w") as file:
        assert fault in (file.value["a"].fault or "")
        with pytest.raises(NoTorchFile, match=fault):
            file.tensors(file.value)


def archive(path: Path, storage: bytes, content: bytes, *, packed: bool = False, **more: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        made.writestr("w/data.pkl", content)
        made.writestr("w/data/0", storage)
        for name, value in more.items():
            made.writestr(f"w/{name.replace('_', '.')}", value)


def claim(count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The pickle of one tensor, `a`, that claims this."""

    class Claim:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Held(), offset, size, stride, False, {})

    class Held:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(obj, Held) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"a": Claim()})
    return file.getvalue()


@pytest.mark.parametrize(
    ("count", "size", "stride", "offset"),
    [
        (2**40, (2**40,), (1,), 0),
        (2, (3,), (1,), 0),
        (2, (2,), (1,), 1),
        (2, (2,), (2**40,), 0),
        (2, (1,), (1,), 2**50),
        (2, (2,), (-1,), 1),
        (2, (2,), (1,), -1),
        (2, (2**63,), (0,), 0),
        (2, (2, 1), (1,), 0),
    ],
)
def test_a_tensor_beyond_the_bytes_of_its_file_is_refused(
    count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int, tmp_path: Path
) -> None:
    archive(tmp_path / "w", bytes(8), claim(count, size, stride, offset))
    with pytest.raises(NoTorchFile):
        read(tmp_path / "w")


def test_a_claim_within_the_bytes_is_read(tmp_path: Path) -> None:
    for packed in (False, True):
        archive(tmp_path / "w", struct.pack("<2f", 1, 2), claim(2, (2,), (1,)), packed=packed)
        assert read(tmp_path / "w")["a"].tolist() == [1, 2]


def test_archives_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    good = claim(2, (2,), (1,))
    archive(tmp_path / "bomb", bytes(2**26), good, packed=True)
    archive(tmp_path / "script", bytes(8), good, constants_pkl=b"")
    archive(tmp_path / "order", bytes(8), good, byteorder=b"big")
    claims = bytearray((tmp_path / "order").read_bytes())
    directory = claims.rindex(b"PK\x01\x02")
    claims[directory + 20 : directory + 24] = struct.pack("<I", 2**31)  # packed size of the last entry
    (tmp_path / "claims").write_bytes(claims)
    with pytest.raises(NoTorchFile, match="claims more bytes"):
        read(tmp_path / "claims")
    for name, reason in (("bomb", "unpacks to a huge one"), ("script", "TorchScript"), ("order", "big-endian")):
        with pytest.raises(NoTorchFile, match=reason):
            read(tmp_path / name)
    (tmp_path / "empty").touch()
    with pytest.raises(NoTorchFile, match="empty"):
        read(tmp_path / "empty")
    torch.save({"a": torch.ones(500)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "cut").write_bytes((tmp_path / "old").read_bytes()[:-8])
    with pytest.raises(NoTorchFile, match="fewer bytes"):
        read(tmp_path / "cut")
