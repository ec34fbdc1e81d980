"""Makes the hostile files of this folder, `<parser>/<name>`: `python tests/corpus/make.py`.

Files that a fuzzer has found lie in `<parser>/found`; this script leaves them alone.
"""

import argparse
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
import yaml
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save

HERE = Path(__file__).parent
Files = Iterator[tuple[str, bytes]]


def cuts(name: str, ending: str, good: bytes) -> Files:
    """A good file, and what a broken download or disk makes of it."""
    yield f"{name}-good{ending}", good
    for part in (1, 10, len(good) // 2, len(good) - 4):
        yield f"{name}-first-{part}-bytes{ending}", good[:part]
    yield f"{name}-zeros-in-the-second-half{ending}", good[: len(good) // 2] + bytes(len(good) // 2)
    yield f"{name}-ones-in-the-middle{ending}", good[: len(good) // 3] + b"\xff" * 8 + good[len(good) // 3 + 8 :]
    yield f"{name}-twice{ending}", good + good


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 2, interlaced: int = 0) -> bytes:
    """A PNG with these chunks after its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")])


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A little-endian TIFF with one directory of (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + bytes(64)


def bmp(width: int, height: int, bits: int = 24, compression: int = 0) -> bytes:
    """A BMP with a few pixels, whatever size it claims."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + header + bytes(64)


def images() -> Files:
    """Files that are called images."""
    noise = Image.effect_noise((12, 8), 80).convert("RGB")
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM"):
        content = io.BytesIO()
        noise.save(content, kind)
        yield from cuts(kind.lower(), f".{kind.lower()}", content.getvalue())
    jpeg = io.BytesIO()
    noise.save(jpeg, "JPEG")
    good = jpeg.getvalue()
    frame = good.index(b"\xff\xc0") + 5
    for height, width in ((9000, 9000), (65535, 65535), (0, 8), (8, 0), (65535, 1)):
        changed = good[:frame] + struct.pack(">HH", height, width) + good[frame + 4 :]
        yield f"jpeg-claims-{width}-x-{height}.jpg", changed
    yield "jpeg-as-progressive.jpg", good.replace(b"\xff\xc0", b"\xff\xc2")
    yield "jpeg-as-lossless.jpg", good.replace(b"\xff\xc0", b"\xff\xc3")
    yield "jpeg-nothing-but-markers.jpg", b"\xff\xd8" + b"\xff\xfe\x00\x02" * 2000
    yield (
        "jpeg-exif-points-at-itself.jpg",
        good[:2]
        + b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87"
        + bytes([4, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0])
        + good[2:],
    )
    pixels = zlib.compress(bytes(100 * 100 * 3 + 100))
    for width, height in ((2**31 - 1, 2**31 - 1), (0, 0), (9000, 9000), (2**31 - 1, 1), (100, 100)):
        yield f"png-claims-{width}-x-{height}.png", png(width, height, chunk(b"IDAT", pixels))
    bomb = zlib.compress(bytes(2_000_000), 9)
    yield "png-more-pixels-than-its-size.png", png(4, 4, chunk(b"IDAT", bomb))
    yield "png-text-bomb.png", png(4, 4, chunk(b"zTXt", b"a\0\0" + bomb), chunk(b"IDAT", pixels))
    yield "png-profile-bomb.png", png(4, 4, chunk(b"iCCP", b"a\0\0" + bomb), chunk(b"IDAT", pixels))
    yield "png-many-texts.png", png(4, 4, *[chunk(b"tEXt", b"a\0b")] * 500, chunk(b"IDAT", pixels))
    yield "png-without-pixels.png", png(4, 4)
    yield "png-depth-3.png", png(4, 4, chunk(b"IDAT", pixels), depth=3)
    yield "png-color-5.png", png(4, 4, chunk(b"IDAT", pixels), color=5)
    yield "png-interlaced-7.png", png(4, 4, chunk(b"IDAT", pixels), interlaced=7)
    yield "png-palette-missing.png", png(4, 4, chunk(b"IDAT", pixels), color=3)
    yield "png-chunk-of-4-GiB.png", png(4, 4)[:33] + b"\xff\xff\xff\xffIDAT"
    yield "png-animated-without-frames.png", png(4, 4, chunk(b"acTL", bytes(8)), chunk(b"IDAT", pixels))
    for width, height in ((2**31 - 1, 2**31 - 1), (-1, 8), (8, -(2**31)), (0, 0), (60_000, 60_000)):
        yield f"bmp-claims-{width}-x-{height}.bmp", bmp(width, height)
    yield "bmp-runs.bmp", bmp(8, 8, 8, 1)
    yield "bmp-7-bits.bmp", bmp(8, 8, 7)
    yield "bmp-compression-99.bmp", bmp(8, 8, 24, 99)
    size = ((256, 4, 1, 8), (257, 4, 1, 8))
    yield "tiff-directory-leads-to-itself.tif", tiff(*size, following=8)
    yield "tiff-without-strips.tif", tiff(*size)
    yield "tiff-tag-of-4-GiB.tif", tiff(*size, (270, 2, 2**32 - 1, 8))
    yield "tiff-strip-outside.tif", tiff(*size, (258, 3, 1, 8), (273, 4, 1, 2**31), (279, 4, 1, 64))
    yield "tiff-floats.tif", tiff(*size, (258, 3, 1, 32), (339, 3, 1, 3), (273, 4, 1, 8), (279, 4, 1, 64))
    yield "tiff-huge.tif", tiff((256, 4, 1, 2**31), (257, 4, 1, 2**31), (258, 3, 1, 8), (273, 4, 1, 8))
    yield "tiff-compression-9999.tif", tiff(*size, (258, 3, 1, 8), (259, 3, 1, 9999), (273, 4, 1, 8), (279, 4, 1, 64))
    yield "tiff-big.tif", b"II+\0\x08\0\0\0" + b"\xff" * 8
    gif = b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6)
    yield "gif-huge-screen.gif", gif + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;"
    yield (
        "gif-code-of-99-bits.gif",
        b"GIF89a\x08\0\x08\0\x80\0\0" + bytes(6) + b",\0\0\0\0\x08\0\x08\0\0\x63\x02\x4c\x01\0;",
    )
    yield "gif-without-a-frame.gif", b"GIF89a\x08\0\x08\0\x80\0\0" + bytes(6) + b";"
    yield "gif-endless-extensions.gif", b"GIF89a\x08\0\x08\0\0\0\0" + b"!\xfe\x01a\0" * 2000
    for text in ("P6 99999999999999999999 1 255 ", "P6 -4 4 255 ", "P6 4 4 0 ", "P6 4 4 65536 ", "P5 4 4 70000 "):
        yield f"ppm-{text.strip().replace(' ', '-')[:30]}.ppm", text.encode() + bytes(48)
    yield "ppm-endless-comment.ppm", b"P6 #" + b"c" * 5000
    yield "ppm-letters-for-numbers.ppm", b"P3 2 2 255 a b c d e f g h i j k l"
    yield "pam.ppm", b"P7\nWIDTH 4\nHEIGHT 4\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(48)
    riff = b"RIFF" + struct.pack("<I", 2**32 - 1) + b"WEBPVP8L" + struct.pack("<I", 2**32 - 1)
    yield "webp-sizes-of-4-GiB.webp", riff + b"\x2f\xff\xff\xff\x1f" + bytes(20)
    others: dict[str, bytes] = {
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "page.jpg": b"<!doctype html><title>404 Not Found</title>",
        "program.jpg": b"\x7fELF\x02\x01\x01" + bytes(60),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "paper.png": b"%PDF-1.7\n1 0 obj <</Type/Catalog>> endobj\n",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "icon.png": b"\0\0\1\0\1\0" + b"\x10\x10\0\0\1\0\x20\0" + struct.pack("<II", 2**32 - 1, 22),
        "fits.png": b"SIMPLE  =                    T".ljust(2880),
        "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "archive.jpg": b"PK\3\4" + bytes(26),
        "nothing.jpg": b"",
        "one-zero.jpg": b"\0",
        "text.png": "Übung\n".encode(),
    }
    yield from others.items()


def manifests() -> Files:
    """Files that are called manifests; a.jpg and b.jpg exist beside them."""
    good = b"path,label,split\na.jpg,cat,train\nb.jpg,dog,val\n"
    yield from cuts("manifest", ".csv", good)
    rows = "path,label,split\n"
    texts: dict[str, str] = {
        "only-a-head": rows,
        "only-line-ends": "\n" * 500,
        "carriage-returns": rows.replace("\n", "\r") + "a.jpg,cat,train\r",
        "open-quote": rows + '"a.jpg,cat,train\nb.jpg,dog,val\n',
        "quote-in-the-middle": rows + 'a.jpg,c"at,train\n',
        "head-open-quote": '"path,label,split\na.jpg,cat,train\n',
        "a-line-of-commas": rows + "," * 9000,
        "a-head-of-commas": "," * 9000 + "\n",
        "a-field-above-the-limit": rows + "a.jpg," + "c" * 140_000 + ",train\n",
        "columns-twice": "path,path,label,split\na.jpg,b.jpg,cat,train\n",
        "no-head": "a.jpg,cat,train\nb.jpg,dog,val\n",
        "path-leads-out": rows + "../a.jpg,cat,train\n",
        "path-is-absolute": rows + "/etc/passwd,cat,train\n",
        "path-of-a-drive": rows + "C:\\a.jpg,cat,train\n",
        "path-of-a-server": rows + "\\\\server\\share\\a.jpg,cat,train\n",
        "path-is-an-address": rows + "http://example.org/a.jpg,cat,train\n",
        "path-is-the-folder": rows + ".,cat,train\n",
        "path-is-empty": rows + ",cat,train\n",
        "path-is-very-long": rows + "a/" * 3000 + "a.jpg,cat,train\n",
        "path-twice": rows + "a.jpg,cat,train\n./a.jpg,dog,val\n",
        "label-is-nan": rows + "a.jpg,nan,train\n",
        "label-is-empty": rows + "a.jpg,,train\n",
        "label-is-white-space": rows + "a.jpg,   ,train\n",
        "label-is-a-formula": rows + "a.jpg,=cmd|' /C calc'!A0,train\n",
        "label-has-a-line-end": rows + 'a.jpg,"c\nat",train\n',
        "label-turns-the-direction": rows + "a.jpg,c\u202eat,train\n",
        "label-clears-the-terminal": rows + "a.jpg,\x1b[2Jcat,train\n",
        "split-unknown": rows + "a.jpg,cat,holdout\n",
        "split-is-a-number": rows + "a.jpg,cat,0\n",
        "split-is-very-long": rows + "a.jpg,cat," + "t" * 5000 + "\n",
        "row-too-short": rows + "a.jpg\n",
        "row-too-long": rows + "a.jpg,cat,train,4,5,6,7\n",
        "one-column": "path\na.jpg\n",
        "marks-of-two-classes": "path,split,cat,dog\na.jpg,train,1,1\n",
        "marks-of-no-class": "path,split,cat,dog\na.jpg,train,0,0\n",
        "marks-are-words": "path,split,cat,dog\na.jpg,train,yes,no\n",
        "separated-by-colons": "path:label:split\na.jpg:cat:train\n",
        "separated-by-spaces": "path label split\na.jpg cat train\n",
        "json": '[{"path": "a.jpg", "label": "cat", "split": "train"}]',
        "page": "<!doctype html><table><tr><td>a.jpg</table>",
    }
    for name, text in texts.items():
        yield f"{name}.csv", text.encode()
    yield "two-bytes-a-letter.csv", good.decode().encode("utf-16")
    yield "latin.csv", (rows + "a.jpg,Käfer,train\n").encode("latin-1")
    yield "nul-bytes.csv", good.replace(b"cat", b"c\0t")
    yield "mark-of-order.csv", b"\xef\xbb\xbf" + good
    yield "workbook.csv", b"PK\3\4" + bytes(60)
    yield "table.csv", b"PAR1" + bytes(60) + b"PAR1"


def documents() -> Files:
    """YAML and JSON that a parser can choke on, whatever they mean."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
    merged = "a0: &a0 {x: 1}\n"
    for level in range(1, 40):
        merged += f"a{level}: &a{level} {{<<: [*a{level - 1}, *a{level - 1}]}}\n"
    texts: dict[str, str] = {
        "alias-bomb": bomb,
        "merge-bomb": merged,
        "list-in-itself": "a: &a [*a]\n",
        "mapping-in-itself": "a: &a {b: *a}\n",
        "merges-itself": "a: &a {<<: *a}\n",
        "merges-a-number": "a: {<<: 3}\n",
        "deep-lists": "[" * 3000 + "]" * 3000,
        "deep-mappings": "{a: " * 3000 + "}" * 3000,
        "deep-by-indent": "".join(f"{' ' * level}a:\n" for level in range(400)),
        "runs-code": "a: !!python/object/apply:os.system ['false']\n",
        "imports": "a: !!python/name:os.system\n",
        "unknown-tag": "a: !include other.yaml\n",
        "wrong-binary": "a: !!binary '@@@'\n",
        "wrong-int": "a: !!int x\n",
        "wrong-float": "a: !!float x\n",
        "wrong-time": "a: !!timestamp x\n",
        "month-13": "a: 2026-13-45\n",
        "set": "a: !!set {x, y}\n",
        "pairs": "a: !!pairs [x: 1, x: 2]\n",
        "omap": "a: !!omap [x]\n",
        "key-is-a-list": "? [a, b]\n: 1\n",
        "key-is-a-mapping": "? {a: b}\n: 1\n",
        "key-is-null": "null: 1\n",
        "key-is-nan": ".nan: 1\n.nan : 2\n",
        "key-twice": "a: 1\na: 2\n",
        "undefined-alias": "a: *b\n",
        "two-documents": "a: 1\n---\nb: 2\n",
        "no-document": "# nothing\n",
        "empty": "",
        "tab": "a:\n\tb: 1\n",
        "open-quote": 'a: "b\n',
        "open-list": "a: [b\n",
        "wrong-escape": 'a: "\\xZZ"\n',
        "half-a-pair": 'a: "\\ud800"\n',
        "control-character": "a: \x07\n",
        "directive": "%YAML 9.9\n---\na: 1\n",
        "huge-int": "a: " + "9" * 6000 + "\n",
        "huge-hex": "a: 0x" + "f" * 6000 + "\n",
        "base-60": "a: " + "59:" * 2000 + "59\n",
        "huge-float": "a: 1e99999\n",
        "digits": "a: 0." + "3" * 9000 + "\n",
        "long-key": "k" * 9000 + ": 1\n",
        "page": "<!doctype html>",
        "colons": ":" * 5000,
        "dashes": "- " * 2000,
        "questions": "? " * 900,
        "exclamation": "!" * 900 + " a",
        "ampersands": "&a " * 900,
        "percents": "%" * 900,
        "literal-block-to-the-end": "a: |99\n  b\n",
    }
    for name, text in texts.items():
        yield f"{name}.yaml", text.encode("utf-8", "surrogatepass")
    yield "document-good.yaml", DOCUMENT
    yield "document-good.json", b'{"a": [1, 2.5, "x"], "b": {"c": null}}'
    yield "two-bytes-a-letter.yaml", "a: 1\n".encode("utf-16")
    yield "latin.yaml", "a: Käfer\n".encode("latin-1")
    yield "nul.yaml", b"a: \0\n"
    yield "half-a-letter.yaml", b"a: \xc3"
    for name, text in {
        "deep": "[" * 5000,
        "deep-closed": '{"a":' * 3000 + "1" + "}" * 3000,
        "key-twice": '{"a": 1, "a": 2}',
        "nan": '{"a": NaN, "b": -Infinity}',
        "huge-int": '{"a": ' + "9" * 6000 + "}",
        "huge-float": '{"a": 1e99999}',
        "half-a-pair": '{"a": "\\ud800"}',
        "comment": '{"a": 1} // x',
        "comma": '{"a": 1,}',
        "two-values": '{"a": 1}{"a": 2}',
        "empty": "",
        "open": '{"a": "b',
        "tab": '{"a":\t"\t"}',
    }.items():
        yield f"{name}.json", text.encode()


DOCUMENT = b"""name: s
data: &data {root: photos, image_size: 32}
trial: {<<: *data, epochs: 1e1, lr: 1e-3, weights: none}
space: {lr: {log: [1e-3, 1e-1]}, strategy: {choice: [head, full]}}
"""
SWEEP: dict[str, Any] = {
    "name": "s",
    "data": {"root": "photos", "image_size": 32},
    "trial": {"epochs": 2, "weights": "none"},
    "space": {
        "architecture": {"choice": ["resnet18"]},
        "strategy": {"choice": ["head", "full"]},
        "lr": {"log": [1e-4, 1e-1]},
    },
    "search": {"trials": 4},
}
TRIAL: dict[str, Any] = {
    "data": {"root": "photos", "image_size": 32},
    "architecture": "resnet18",
    "strategy": "head",
    "epochs": 2,
    "lr": 0.1,
    "weights": "none",
}


def replaced(good: dict[str, Any], key: str, value: Any) -> bytes:
    """A good document with one key changed, `a.b` for one in a section."""
    changed = json.loads(json.dumps(good))
    section = changed
    *parents, last = key.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    return json.dumps(changed).encode()


ODD: dict[str, Any] = {
    "huge": 10**30,
    "minus": -1,
    "text": "\x1b[2J=1+1<b>",
    "null": None,
    "list": [],
    "nan": float("nan"),
}


def sweeps() -> Files:
    """Sweep files with a value nobody means."""
    yield "sweep-good.yaml", yaml.safe_dump(SWEEP).encode()
    for key in ("search.trials", "trial.epochs", "space.lr", "space.architecture", "name", "data", "stopping"):
        for name, value in ODD.items():
            yield f"{key}-{name}.yaml", replaced(SWEEP, key, value)
    domains: dict[str, Any] = {
        "empty-choice": {"choice": []},
        "log-from-zero": {"log": [0, 1]},
        "log-upside-down": {"log": [1, 1e-3]},
        "log-of-three": {"log": [1, 2, 3]},
        "log-infinite": {"log": [1e-3, float("inf")]},
        "two-kinds": {"log": [1e-3, 1], "choice": [1]},
        "unknown-kind": {"poisson": 3},
        "int-too-wide": {"int": [0, 10**30]},
        "when-itself": {"log": [1e-3, 1], "when": {"lr": 1}},
        "when-nobody": {"log": [1e-3, 1], "when": {"nobody": 1}},
    }
    for name, domain in domains.items():
        yield f"lr-{name}.yaml", replaced(SWEEP, "space.lr", domain)
    ring = {"choice": [8, 16], "when": {"weight_decay": 0.1}}
    space = {**SWEEP["space"], "batch_size": ring, "weight_decay": {"choice": [0.1, 0.2], "when": {"batch_size": 8}}}
    yield "conditions-in-a-ring.yaml", replaced(SWEEP, "space", space)


def trials() -> Files:
    """Trial files with a value nobody means."""
    yield "trial-good.yaml", yaml.safe_dump(TRIAL).encode()
    for key in ("lr", "epochs", "batch_size", "data.image_size", "architecture", "strategy"):
        for name, value in ODD.items():
            yield f"{key}-{name}.yaml", replaced(TRIAL, key, value)


def old_configs() -> Files:
    """Configurations of other tools with a value nobody means."""
    good = {"model_name": "resnet18", "data_dir": "photos", "num_epochs": 5, "learning_rate": 0.1, "batch_size": 8}
    yield "old-config-good.yaml", yaml.safe_dump({**good, "freeze_epochs": 2, "optimizer": "adam"}).encode()
    for key in ("freeze_epochs", "learning_rate", "model_name", "data_dir", "num_epochs"):
        for name, value in ODD.items():
            yield f"{key}-{name}.yaml", replaced(good, key, value)
    yield "reference.yaml", b"model_name: ${model.name}\ndata_dir: ${oc.env:HOME}\n"
    yield "keys-are-numbers.yaml", b"1: 2\n3: 4\n"
    yield "deep-sections.yaml", ("{model: " * 45 + "resnet18" + "}" * 45).encode()


def records(kind: str) -> Files:
    """Records of a run that were edited or damaged."""
    trial = {"trial_id": "0001", "config": TRIAL, "parameters": {}, "status": "COMPLETED", "reports": []}
    run = {
        "name": "s",
        "objective": {"metric": "val/macro_f1", "mode": "max"},
        "space": {},
        "distributions": {},
        "created": "2026-01-01T00:00:00Z",
        "classes": ["a", "b"],
        "fingerprint": "0",
        "sample_counts": {"train": 2},
        "trials_planned": 3,
        "versions": {},
    }
    good = trial if kind == "trial" else run
    yield from cuts("record", ".json", json.dumps(good).encode())
    for key in ("schema_version", *good):
        for name in ("null", "list", "huge"):
            yield f"{key}-{name}.json", replaced(good, key, ODD[name])
    yield "list.json", b"[]"
    yield "deep.json", b"[" * 10_000
    yield "utf-16.json", json.dumps(good).encode("utf-16")


class Calls:
    """A value whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def archive(files: dict[str, bytes], compressed: bool = False) -> bytes:
    """A ZIP file as torch writes it."""
    content = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w") as opened:
        for name, data in files.items():
            opened.writestr(zipfile.ZipInfo(name), data, kind)
    return content.getvalue()


def tensor_pickle(size: str, stride: str, elements: int, kind: bytes = b"FloatStorage") -> bytes:
    """Protocol 2 of {'a': a tensor of this size and stride over storage 0}, as torch writes it."""
    return (
        b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n"
        + kind
        + b"\nX\x01\0\0\x000X\x03\0\0\0cpu"
        + f"L{elements}L\ntQL0L\n{size}{stride}".encode()
        + b"\x89}tRs."
    )


def weights() -> Files:
    """Files that are called weights."""
    tensors = {"a.weight": torch.arange(12.0).reshape(4, 3), "b": torch.ones(2)}
    new, old = io.BytesIO(), io.BytesIO()
    checkpoint = {"state_dict": tensors, "args": argparse.Namespace(lr=0.1, names={"x", "y"}), "epoch": 1}
    torch.save(checkpoint, new)
    torch.save(checkpoint, old, _use_new_zipfile_serialization=False)
    yield from cuts("archive", ".pth", new.getvalue())
    yield from cuts("legacy", ".pth", old.getvalue())
    yield from cuts("tensors", ".safetensors", save(tensors))
    calls = {
        "system": Calls(os.system, "false"),
        "eval": Calls(eval, "1 + 1"),
        "open": Calls(open, "/etc/passwd"),
        "exit": Calls(os._exit, 3),
        "bytes-of-a-TiB": Calls(bytearray, 2**40),
        "range": Calls(list, range(10**5)),
    }
    for name, value in calls.items():
        yield f"calls-{name}.pth", archive({"archive/data.pkl": pickle.dumps({"a": value}, 2), "archive/version": b"3"})
        yield f"pickle-calls-{name}.pkl", pickle.dumps({"a": value}, 2)
    pickles: dict[str, bytes] = {
        "deep": b"\x80\x02" + b"(" * 5000 + b"t" * 5000 + b".",
        "deep-lists": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
        "memo-that-is-missing": b"\x80\x02h\x63.",
        "memo-far-away": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "text-of-4-GiB": b"\x80\x02X\xff\xff\xff\xff.",
        "frame-of-16-EiB": b"\x80\x04\x95" + b"\xff" * 9 + b".",
        "number-of-2-GiB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "protocol-99": b"\x80\x63N.",
        "empty-stack": b"\x80\x02.",
        "no-end": b"\x80\x02N",
        "none": b"\x80\x02N.",
        "number": b"\x80\x02K\x01.",
        "empty": b"\x80\x02}.",
        "dict-in-itself": b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
        "list-in-itself": b"\x80\x02}X\x01\0\0\0a]q\0h\0as.",
        "key-is-a-list": b"\x80\x02}]Ns.",
        "tensor-of-16-EiB": tensor_pickle("(L2305843009213693951L\nt", "(L1L\nt", 3),
        "tensor-of-stride-0": tensor_pickle("(L100000L\nL100000L\nt", "(L0L\nL0L\nt", 3),
        "tensor-beyond-its-storage": tensor_pickle("(L4L\nt", "(L1L\nt", 3),
        "tensor-of-minus-one": tensor_pickle("(L-1L\nt", "(L1L\nt", 3),
        "tensor-of-minus-stride": tensor_pickle("(L2L\nt", "(L-1L\nt", 3),
        "tensor-of-unlike-dimensions": tensor_pickle("(L1L\nL1L\nt", "(L1L\nt", 3),
        "storage-larger-than-its-file": tensor_pickle("(L3L\nt", "(L1L\nt", 10**12),
        "storage-unknown": tensor_pickle("(L3L\nt", "(L1L\nt", 3, b"NobodyStorage"),
        "storage-of-quantized-values": tensor_pickle("(L3L\nt", "(L1L\nt", 3, b"QInt8Storage"),
    }
    for name, data in pickles.items():
        yield f"pickle-{name}.pth", archive({"archive/data.pkl": data, "archive/data/0": bytes(12)})
    good = pickle.dumps({"a": 1}, 2)
    yield "zip-bomb.pth", archive({"archive/data.pkl": bytes(20_000_000)}, compressed=True)
    yield "zip-without-a-pickle.pth", archive({"archive/version": b"3"})
    yield "zip-with-two-pickles.pth", archive({"a/data.pkl": good, "b/data.pkl": good})
    yield "zip-name-leads-out.pth", archive({"../../data.pkl": good, "/etc/data.pkl": good})
    yield "zip-empty.pth", archive({})
    yield "zip-of-code.pth", archive({"archive/code/__torch__.py": b"pass", "archive/constants.pkl": good})
    headers: dict[str, bytes] = {
        "length-of-16-EiB": b"\xff" * 8,
        "length-0": bytes(8),
        "length-beyond-the-end": struct.pack("<Q", 10_000) + b"{}",
        "list": b"[]",
        "number": b"3",
        "deep": b"[" * 5000,
        "offsets-beyond-the-end": b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16000000000]}}',
        "offsets-upside-down": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        "offsets-overlap": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "shape-unlike-its-bytes": b'{"a":{"dtype":"F32","shape":[99],"data_offsets":[0,4]}}',
        "shape-that-overflows": b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}',
        "shape-below-zero": b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        "type-unknown": b'{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
        "without-offsets": b'{"a":{"dtype":"F32","shape":[1]}}',
    }
    for name, header in headers.items():
        is_whole = "length" in name
        yield f"header-{name}.safetensors", header if is_whole else struct.pack("<Q", len(header)) + header + bytes(4)
    others: dict[str, bytes] = {
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "page.pth": b"<!doctype html><title>Sign in</title>",
        "refusal.pth": b'{"error": "Repository not found"}',
        "hdf5.h5": b"\x89HDF\r\n\x1a\n" + bytes(60),
        "numpy.npz": archive({"a.npy": b"\x93NUMPY\1\0" + bytes(60)}),
        "onnx.pth": helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString(),
        "gguf.pth": b"GGUF\3\0\0\0" + bytes(40),
        "text.pth": b"imagenet\n",
        "nothing.pth": b"",
        "gzip.pth": b"\x1f\x8b\x08" + bytes(40),
        "tar.pth": b"a".ljust(257, b"\0") + b"ustar\x0000" + bytes(247),
    }
    yield from others.items()


def model(nodes: list[Any], metadata: dict[str, str], size: Any = 4, classes: Any = 2) -> bytes:
    """An ONNX file with these nodes between `images` and `logits`."""
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, size, size])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(made, metadata)
    content: bytes = made.SerializeToString()
    return content


def models() -> Files:
    """Files that are called exported models."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Constant", [], ["w"], value=helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [1.0] * 6)),
        helper.make_node("MatMul", ["flat", "w"], ["logits"]),
    ]
    steps = {"image_size": 4, "resize_mode": "squash", "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    metadata = {
        "thaw.labels": '["cat", "dog"]',
        "thaw.preprocessing": json.dumps(steps),
        "thaw.config": "{}",
        "thaw.fingerprint": '"0"',
        "thaw.opset": "17",
        "thaw.version": '"1"',
    }
    yield from cuts("model", ".onnx", model(nodes, metadata))
    yield "without-metadata.onnx", model(nodes, {})
    for key in metadata:
        for name, text in {"empty": "", "list": "[]", "deep": "[" * 3000, "null": "null", "nan": "NaN"}.items():
            yield f"{key}-{name}.onnx", model(nodes, {**metadata, key: text})
    yield "classes-unlike-its-labels.onnx", model(nodes, {**metadata, "thaw.labels": '["a", "b", "c"]'})
    yield "size-unlike-its-metadata.onnx", model(nodes, metadata, size=9)
    yield "no-nodes.onnx", model([], metadata)
    yield "node-unknown.onnx", model([helper.make_node("Nobody", ["images"], ["logits"])], metadata)
    yield (
        "node-of-another-domain.onnx",
        model([helper.make_node("Run", ["images"], ["logits"], domain="com.example")], metadata),
    )
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [2**20, 2**20])
    bomb = [
        helper.make_node("Constant", [], ["s"], value=shape),
        helper.make_node("ConstantOfShape", ["s"], ["filled"]),
        helper.make_node("ReduceSum", ["filled"], ["sum"]),
        *nodes[:3],
        helper.make_node("MatMul", ["flat", "w"], ["product"]),
        helper.make_node("Add", ["product", "sum"], ["logits"]),
    ]
    yield "constant-of-4-TiB.onnx", model(bomb, metadata)
    outside = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=1)
    for location in ("/etc/passwd", "../../../etc/passwd", "missing.data"):
        del outside.external_data[:]
        outside.external_data.add(key="location", value=location)
        nodes[2] = helper.make_node("Constant", [], ["w"], value=outside)
        yield f"weights-in-{location.replace('/', '-')}.onnx", model(nodes, metadata)
    yield "page.onnx", b"<!doctype html>"
    yield "nothing.onnx", b""
    yield "pointer.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n"
    yield "varint-without-end.onnx", b"\xff" * 2000


CORPUS: dict[str, Any] = {
    "image": images,
    "manifest": manifests,
    "document": documents,
    "sweep": sweeps,
    "trial": trials,
    "old-config": old_configs,
    "trial-record": lambda: records("trial"),
    "run-record": lambda: records("run"),
    "weights": weights,
    "model": models,
}


def main() -> None:
    """Write the files anew."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for parser, made in CORPUS.items():
        folder = HERE / parser
        for stale in folder.glob("*"):
            if stale.is_file():
                stale.unlink()
        folder.mkdir(exist_ok=True)
        for name, content in made():
            (folder / name).write_bytes(content)
    shutil.copyfile(HERE / "image" / "jpeg-good.jpeg", HERE / "manifest" / "a.jpg")
    shutil.copyfile(HERE / "image" / "jpeg-good.jpeg", HERE / "manifest" / "b.jpg")


if __name__ == "__main__":
    main()
