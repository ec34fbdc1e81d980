"""Fuzzer of what reads files of users. `make fuzz`, half an hour, by hand.

Each parser gets mutants of its good files in `tests/corpus`. It may read them or refuse them with the file's name; a
mutant with another answer, or one that takes more than ten seconds, is kept in the parser's folder `found`, where
`make test` reads it. Memory is limited to 512 MiB above what the process holds once every parser has read a file.
"""

import argparse
import hashlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "helpers")]

from hostile import answer, limit_memory  # noqa: E402
from parsers import PARSERS  # noqa: E402

CORPUS = TESTS / "corpus"
SLOWEST = 10.0


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


def try_mutants(good: Path, count: int, chance: random.Random, folder: Path) -> int:
    """Give a parser so many mutants of a good file; prints a line about them. Returns the number of wrong answers."""
    parser, content = good.parent.name, good.read_bytes()
    path = folder / f"{good.stem}-mutant{good.suffix}"
    read, slowest, wrong = 0, 0.0, 0
    for _ in range(count):
        path.write_bytes(mutant(content, chance))
        begun = time.perf_counter()
        said = answer(parser, path)
        seconds = time.perf_counter() - begun
        read, slowest = read + (said == "read"), max(slowest, seconds)
        if said not in ("read", "refused") or seconds > SLOWEST:
            wrong += 1
            found = (
                good.parent / "found" / f"{good.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}{good.suffix}"
            )
            found.parent.mkdir(exist_ok=True)
            path.rename(found)
            print(f"  {found}: {said} ({seconds:.1f} s)", flush=True)
    refused = count - read - wrong
    print(
        f"{good.name}: {count} mutants, {read} read, {refused} refused, {wrong} wrong, slowest {slowest:.2f} s",
        flush=True,
    )
    return wrong


def main() -> None:
    """Fuzz every parser, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parsers", nargs="*", default=[*PARSERS], help="by default all: %(default)s")
    parser.add_argument("--mutants", type=int, default=10_000, help="of each good file")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"--seed {options.seed}")
    folders = [CORPUS / name for name in options.parsers]
    limit_memory(folders)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for image in (CORPUS / "manifest").glob("?.jpg"):  # a manifest's images lie beside it
            shutil.copy(image, temporary)
        for good in (path for folder in folders for path in sorted(folder.glob("*-good.*"))):
            wrong += try_mutants(good, options.mutants, random.Random(f"{options.seed} {good.name}"), Path(temporary))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
