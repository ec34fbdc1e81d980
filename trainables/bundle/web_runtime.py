"""onnxruntime-web: the files with which a page runs a model in a browser, fetched by npm once and kept in the cache.

They are larger than a package on PyPI should carry, and npm verifies what it fetches.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from search_spaces.errors import InvalidInput

WEB_VERSION = "1.30.0"
"""Version of onnxruntime-web."""

SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
_SHA256 = {
    SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
_PATIENCE_SECONDS = 300


def web_runtime(cache: Path) -> dict[str, bytes]:
    """Return the bytes of SCRIPT and WASM, from `cache` or, the first time, from npm's registry.

    Raises InvalidInput where they are not cached and cannot be fetched.
    """
    folder = cache / f"onnxruntime-web-{WEB_VERSION}"
    found = _files(folder)
    if found is None:
        _fetch(folder)
        found = _files(folder)
    if found is None:
        raise InvalidInput(_refusal(folder, "other bytes under these names"))
    return found


def _files(folder: Path) -> dict[str, bytes] | None:
    """Return the files of a folder; None unless all are there, as they were published."""
    if not all((folder / name).is_file() for name in _SHA256):
        return None
    found = {name: (folder / name).read_bytes() for name in _SHA256}
    return found if all(hashlib.sha256(found[name]).hexdigest() == _SHA256[name] for name in found) else None


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise InvalidInput(_refusal(folder, "no npm, which would fetch them; install Node.js"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder) as scratch:
        command = [npm, "pack", f"onnxruntime-web@{WEB_VERSION}", "--silent", "--pack-destination", scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise InvalidInput(_refusal(folder, f"npm, which took over {_PATIENCE_SECONDS} s")) from error
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"code {done.returncode}"]
            raise InvalidInput(_refusal(folder, f"npm, which ended with: {said[-1][:200]}"))
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for name in _SHA256:
                file = archive.extractfile(f"package/dist/{name}")
                assert file is not None  # a plain file, as the version is pinned
                (Path(scratch) / name).write_bytes(file.read())
                (Path(scratch) / name).replace(folder / name)


def _refusal(folder: Path, got: str) -> str:
    return (
        f"--variant web: needs {SCRIPT} and {WASM} of onnxruntime-web {WEB_VERSION} in {folder}, got {got}; "
        "or put them there by hand"
    )
