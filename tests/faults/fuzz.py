"""Fuzzer of what reads files of users: weights, sweep files, images. `make fuzz`, minutes, by hand.

Each parser gets mutants of good files. It may read them or raise InvalidInput with the file's name; whatever else it
raises, and a mutant that takes more than ten seconds, ends the run with the mutant kept. Memory is limited to 512 MiB
above what the process holds once every parser has run.
"""

import argparse
import io
import random
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from search_spaces.documents import read_document
from search_spaces.errors import InvalidInput
from trainables.data.decode import decode
from trainables.model.weights import read_weights

SLOWEST = 10.0
ROOM = 512 * 2**20
YAML = """name: s
data: &data {root: photos, image_size: 32}
trial: {<<: *data, epochs: 1e1, lr: 1e-3, weights: none}
space: {lr: {log: [1e-3, 1e-1]}, strategy: {choice: [head, full]}}
"""


def good_files(folder: Path) -> dict[str, tuple[Callable[[Path], Any], str, bytes]]:
    """The parser, ending and content of each kind of file."""
    tensors = {"a.weight": torch.randn(4, 3), "b": torch.ones(2), "c": torch.arange(3)}
    checkpoint = {"state_dict": tensors, "args": argparse.Namespace(lr=0.1, names={"x", "y"}), "epoch": 1}
    torch.save(checkpoint, folder / "new")
    torch.save(checkpoint, folder / "old", _use_new_zipfile_serialization=False)
    save_file(tensors, folder / "safe")
    kinds: dict[str, tuple[Callable[[Path], Any], str, bytes]] = {
        "archive": (read_weights, ".pth", (folder / "new").read_bytes()),
        "legacy": (read_weights, ".pth", (folder / "old").read_bytes()),
        "safetensors": (read_weights, ".safetensors", (folder / "safe").read_bytes()),
        "yaml": (read_document, ".yaml", YAML.encode()),
        "json": (read_document, ".json", b'{"a": [1, 2.5, "x"], "b": {"c": null}}'),
    }
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF"):
        content = io.BytesIO()
        Image.effect_noise((24, 16), 80).convert("RGB").save(content, kind)
        kinds[kind] = (lambda path: decode(path.read_bytes(), str(path)), f".{kind.lower()}", content.getvalue())
    return kinds


def mutant(content: bytes, chance: random.Random) -> bytes:
    """Change, delete, insert or repeat a few bytes."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 8])):
        place, kind = chance.randrange(len(changed) + 1), chance.randrange(5)
        if kind == 0:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del changed[place : place + chance.randrange(1, 20)]
        elif kind == 2:
            changed[place:place] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            changed[place : place + 8] = chance.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8)])
        else:
            changed[place:place] = changed[place : place + chance.randrange(1, 99)] * chance.randrange(1, 50)
    return bytes(changed)


def try_mutants(name: str, count: int, chance: random.Random, folder: Path) -> str:
    """Give a parser so many mutants; returns a line about them. Raises AssertionError, with the mutant's file."""
    parse, ending, content = good_files(folder)[name]
    path = folder / f"{name}{ending}"
    read, slowest = 0, 0.0
    for _ in range(count):
        path.write_bytes(mutant(content, chance))
        started = time.perf_counter()
        try:
            parse(path)
            read += 1
        except InvalidInput as error:
            assert str(path) in str(error), f"{path}: the message lacks the file: {error}"
        except BaseException as error:
            raise AssertionError(f"{path}: {type(error).__name__}: {error}") from error
        slowest = max(slowest, time.perf_counter() - started)
        assert slowest < SLOWEST, f"{path}: took {slowest:.1f} s"
    return f"{name}: {count} mutants, {read} read, {count - read} refused, the slowest in {slowest:.2f} s"


def main() -> None:
    """Fuzz every parser, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    warnings.simplefilter("ignore")  # of Pillow, on metadata that nobody here reads
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    kinds = good_files(folder)
    for name, (parse, ending, content) in kinds.items():
        (folder / f"{name}{ending}").write_bytes(content)
        parse(folder / f"{name}{ending}")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))
    for name in options.names or kinds:
        print(try_mutants(name, options.mutants, random.Random(f"{options.seed} {name}"), folder), flush=True)


if __name__ == "__main__":
    main()
