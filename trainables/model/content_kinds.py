"""Kinds of content that people give for weights by mistake, by their first bytes."""

import json
import zipfile
from pathlib import Path

from search_spaces.user_files import WEIGHTS, open_user_file

_HEAD = 4096
_SIGNS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer in place of the file; get it with `git lfs pull`"),
    (b"\x89HDF\r\n", "a file of Keras (HDF5); Thaw takes weights of PyTorch"),
    (b"GGUF", "a GGUF file of a language model; name weights of the architecture"),
    (b"\x93NUMPY", "an array of NumPy; save the state dict with safetensors.torch.save_file"),
    (b"\x1f\x8b", "a gzip file; unpack it and name the weights in it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and name the weights in it"),
    (b"\xfd7zXZ", "an xz file; unpack it and name the weights in it"),
    (b"BZh", "a bzip2 file; unpack it and name the weights in it"),
    (b"Rar!", "a RAR archive; unpack it and name the weights in it"),
    (b"\x89PNG", "an image (PNG); name the weights"),
    (b"\xff\xd8\xff", "an image (JPEG); name the weights"),
    (b"%PDF", "a PDF document; name the weights"),
)


def mistaken_content(path: Path) -> str | None:
    """Return what a file is that is no weights, with the remedy; None where that is not known."""
    with open_user_file(path, WEIGHTS) as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file, such as a download that was cut off; get it again"
    for sign, kind in _SIGNS:
        if head.startswith(sign):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and name the weights in it"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path)
    return _safetensors_or_text(path, head)


def _archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program; save the state_dict() of its model"
    if any(name.endswith("data.pkl") for name in names):
        return None
    if any(name.endswith(".h5") for name in names):
        return "a file of Keras; Thaw takes weights of PyTorch"
    held = ", ".join(repr(name)[:40] for name in names[:3]) + (", ..." if len(names) > 3 else "")
    return f"a ZIP archive without tensors, of {held or 'nothing'}; unpack it and name the weights in it"


def _safetensors_or_text(path: Path, head: bytes) -> str | None:
    size = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and size < 100_000_000:
        if path.suffix == ".safetensors":
            return "a damaged file, such as a download that was cut off; get it again"
        return "a safetensors file; rename it to end in .safetensors"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:15].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page, such as a page about the download or an error; download the file itself"
    if start.startswith(b"<?xml"):
        return "an XML document, such as an error of a server; download the file itself"
    if start[:1] in (b"{", b"[") and _is_json_so_far(start):
        return "a JSON document, such as a configuration or an index; name the file of weights beside it"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head):
        return f"a text that begins with {head[:40].decode('ascii')!r}; name the file of weights"
    return None


def _is_json_so_far(start: bytes) -> bool:
    text = start.decode("utf-8", "ignore")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return len(start) > _HEAD - 16 and error.pos > len(text) - 200
    except RecursionError:
        return False
    return True
