"""Reader of hostile files, run as a program: what each file's parser answers, and in how many seconds.

`python hostile.py FOLDER...` takes folders that are named after a parser; it prints a line of JSON for each file.
Memory is limited to 512 MiB above what the process holds once every parser has read a good file.
"""

import json
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from parsers import PARSERS

from search_spaces.errors import ThawError

ROOM = 512 * 2**20


def answer(parser: str, path: Path) -> str:
    """Answer of a parser to a file: `read`, `refused`, or the fault of its answer."""
    try:
        PARSERS[parser](path)
    except ThawError as error:
        return "refused" if path.name in str(error) else f"the message lacks the file: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def limit_memory(folders: list[Path]) -> None:
    """Read a good file of each folder; then leave this process 512 MiB more than it holds."""
    warnings.simplefilter("ignore")  # of Pillow, on metadata that nobody here reads
    for folder in folders:
        for path in folder.glob("*-good.*"):
            assert answer(folder.name, path) == "read", path
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))


def files_of(folder: Path) -> Iterator[Path]:
    """The files below a folder, in order of their names."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main() -> None:
    """Read every file of the folders."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    limit_memory(folders)
    for folder in folders:
        for path in files_of(folder):
            begun = time.perf_counter()
            said = answer(folder.name, path)
            seconds = round(time.perf_counter() - begun, 3)
            print(json.dumps({"file": f"{folder.name}/{path.name}", "said": said, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
