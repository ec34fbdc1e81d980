import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trainables.model.content_kinds import mistaken_content


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return file.getvalue()


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(2))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
        (b"\n <html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (json.dumps({"weight_map": {"a": "model-1.safetensors"}}).encode(), "a JSON document"),
        (json.dumps({"a": ["x" * 50] * 999}).encode(), "a JSON document"),
        (b"\xef\xbb\xbf[1]", "a JSON document"),
        (b"Not Found", "a text that begins with 'Not Found'"),
        (zipped(), "a ZIP archive without tensors, of nothing"),
        (zipped(a_txt=b"", b_jpg=b""), "a ZIP archive without tensors, of 'a.txt', 'b.jpg'"),
        (zipped(model_weights_h5=b""), "a file of Keras"),
        (zipped(w__constants_pkl=b"", w__data_pkl=b""), "a TorchScript program"),
        (b"\x89HDF\r\n\x1a\n", "a file of Keras"),
        (numpy_file(), "an array of NumPy"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"%PDF-1.4", "a PDF"),
        (bytes(257) + b"ustar\0", "a tar archive"),
    ],
)
def test_what_is_given_by_mistake_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    found = mistaken_content(tmp_path / "w")
    assert found is not None
    assert said in found


def test_weights_are_no_mistake_and_an_ending_is(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "new")
    torch.save({"a": torch.ones(1)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "noise").write_bytes(b"\xff" * 64)
    assert [mistaken_content(tmp_path / name) for name in ("new", "old", "noise")] == [None] * 3
    save_file({"a": torch.ones(1)}, tmp_path / "tensors")
    assert mistaken_content(tmp_path / "tensors") == "a safetensors file; rename it to end in .safetensors"
    cut_off = tmp_path / "cut.safetensors"
    cut_off.write_bytes((tmp_path / "tensors").read_bytes()[:-1])
    assert mistaken_content(cut_off) == "a damaged file, such as a download that was cut off; get it again"
