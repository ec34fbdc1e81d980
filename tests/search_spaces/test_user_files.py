import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from search_spaces.user_files import DOCUMENT, FileKind, open_user_file, read_user_file

SMALL = FileKind("a small file", 8)


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345678")
    (tmp_path / "link").symlink_to("a")
    assert read_user_file(tmp_path / "a", SMALL) == b"12345678"
    assert read_user_file(tmp_path / "link", SMALL) == b"12345678"
    assert read_user_file(tmp_path / "a", FileKind("a file of any size", 2**62)) == b"12345678", (
        "takes memory for 8 bytes"
    )
    with open_user_file(tmp_path / "a", SMALL) as file:
        assert file.read(3) == b"123"


def test_a_file_above_the_limit_of_its_kind_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 2**40)  # takes no room on the disk
    with pytest.raises(InvalidInput, match=r"a: a small file must have at most 8 bytes, got 1,099,511,627,776; name"):
        read_user_file(tmp_path / "a", SMALL)


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/kallsyms"])
def test_a_file_whose_size_is_not_known_beforehand_is_limited_too(path: str) -> None:
    if not Path(path).exists() or Path(path).stat().st_size:
        pytest.skip(f"needs {path}")
    with pytest.raises(InvalidInput, match=r"must have at most 8 bytes, got more"):
        read_user_file(Path(path), SMALL)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0"])
def test_what_the_shell_hands_over_is_read(path: str) -> None:
    code = "import pathlib; from search_spaces.user_files import DOCUMENT, read_user_file\n"
    code += f"print(read_user_file(pathlib.Path('{path}'), DOCUMENT))"
    result = subprocess.run([sys.executable, "-c", code], input=b"a: 1", capture_output=True, check=True)
    assert result.stdout == b"b'a: 1'\n"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "endless device", "link to a pipe"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, found = Path("there"), "a pipe or device"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo("pipe")
        path.symlink_to("pipe")
    elif kind == "socket":
        found = "a socket"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path = Path("/dev/null" if kind == "device" else "/dev/zero")
    with pytest.raises(InvalidInput, match=f"{path}: a YAML or JSON file must be a file, got {found}; name another"):
        read_user_file(path, DOCUMENT)


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_user_file(tmp_path / "none", DOCUMENT)
    with pytest.raises(IsADirectoryError) as caught:
        read_user_file(tmp_path, DOCUMENT)
    assert caught.value.filename == str(tmp_path)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len([*Path("/proc/self/fd").iterdir()])
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises((InvalidInput, IsADirectoryError)):
            read_user_file(path, DOCUMENT)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
