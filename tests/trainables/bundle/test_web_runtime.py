import os
import shutil
from pathlib import Path

import pytest

from search_spaces.errors import InvalidInput
from trainables.bundle.web_runtime import SCRIPT, WASM, WEB_VERSION, web_runtime


def npm_that(does: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    command = folder / "npm"
    command.write_text(f"#!/bin/sh\n{does}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_npm_is_asked_once(web_files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    npm_that("exit 1", tmp_path / "bin", monkeypatch)
    found = web_runtime(web_files)
    assert found[WASM].startswith(b"\0asm")
    assert b"InferenceSession" in found[SCRIPT]
    assert [path.name for path in (web_files / f"onnxruntime-web-{WEB_VERSION}").glob(".*")] == []


def test_other_bytes_are_not_used(web_files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(web_files, cache)
    (cache / f"onnxruntime-web-{WEB_VERSION}" / SCRIPT).write_text("alert(1)")
    npm_that('echo "one" >&2; echo "npm error code ENOTFOUND" >&2; exit 1', tmp_path / "bin", monkeypatch)
    with pytest.raises(
        InvalidInput, match=r"needs ort\.wasm.* got npm, which ended with: npm error code ENOTFOUND; or"
    ):
        web_runtime(cache)


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"onnxruntime-web-.*got no npm, .* install Node.js; or put them there"):
        web_runtime(tmp_path)
