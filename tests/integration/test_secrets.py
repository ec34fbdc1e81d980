"""Thirteen secrets in the environment of a sweep, a retraining and an export: none is on a disk or shown by `ps`."""

import base64
import gzip
import shutil
import socket
import stat
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pyarrow.parquet as pq
import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.status import Status

pytestmark = [pytest.mark.soak, pytest.mark.seconds(60), pytest.mark.timeout(600)]

BAD, GOOD = 0.05, 0.004
# Of a group that shares its runs.
UMASK = 0o002

SECRETS = {
    "WANDB_API_KEY": "5e1f0c9b7a3d48e6920b1c4d7f8a6e5d3c2b1a09",
    "AWS_ACCESS_KEY_ID": "AKIAQ7PLANTED0KEY1ID",
    "AWS_SECRET_ACCESS_KEY": "pl4nted/S3cret+Acc3ss/K3y0fAws9zYxWvUtSr",
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzPlantedSessionToken0123456789==",
    "HOOK_TOKEN": "hook-planted-93b1d7",
    "HF_TOKEN": "hf_PlantedTokenOfTheHub0123456789",
    "MLFLOW_TRACKING_TOKEN": "mlflow-planted-4c6",
}
# Passwords, each within a URL: of the proxy, of S3, of a database, of W&B, of MLflow; and one in a netrc file.
PASSWORDS = {
    "HTTPS_PROXY": "pr0xy-planted-5d2",
    "AWS_ENDPOINT_URL": "s3rvice-planted-8e4",
    "DATABASE_URL": "d4tabase-planted-1c7",
    "WANDB_BASE_URL": "w4ndb-planted-6a9",
    "MLFLOW_TRACKING_URI": "mlfl0w-planted-2b8",
    "NETRC": "n3trc-planted-0f3",
}

# In every process: one trial fails with all that is in its environment in the message, as a careless library would.
FAILING_TRIAL = f"""
import importlib.abc, importlib.util, os, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "trainables.loop.train":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            train = module.train
            def failing(config, *arguments, **options):
                if config.lr == {BAD}:
                    raise RuntimeError(f"no answer from {{os.environ['AWS_ENDPOINT_URL']}}: {{os.environ!r}}")
                return train(config, *arguments, **options)
            module.train = failing
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder; a home, a run and caches lie below it."""
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Folder for Ray's sessions; one of pytest's is too long for sockets."""
    made = Path(tempfile.mkdtemp(prefix="sec-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def environment(folder: Path, ray_folder: Path) -> dict[str, str]:
    """The planted secrets, and a home with a netrc file and without a token of Ray."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    home, modules = folder / "home", folder / "modules"
    home.mkdir()
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(FAILING_TRIAL)
    netrc = home / "netrc"
    netrc.touch(0o600)
    netrc.write_text(f"machine api.wandb.ai\n login user\n password {PASSWORDS['NETRC']}\n")
    of_services = ("HTTPS_PROXY", "WANDB_BASE_URL", "MLFLOW_TRACKING_URI")
    urls = {name: f"http://someone:{PASSWORDS[name]}@{nowhere}" for name in of_services}
    return {
        **SECRETS,
        **urls,
        "HTTP_PROXY": urls["HTTPS_PROXY"],
        "https_proxy": urls["HTTPS_PROXY"],
        "AWS_ENDPOINT_URL": f"http://someone:{PASSWORDS['AWS_ENDPOINT_URL']}@{nowhere}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "DATABASE_URL": f"postgresql://someone:{PASSWORDS['DATABASE_URL']}@db.example/runs",
        "NETRC": str(netrc),
        "NO_PROXY": "127.0.0.1,localhost",
        "HOME": str(home),
        "RAY_TMPDIR": str(ray_folder),
        "THAW_CACHE_DIR": str(folder / "cache"),
        "TMPDIR": "/tmp",
        "PYTHONPATH": str(modules),
    }


@pytest.fixture(scope="module")
def commands(
    folder: Path,
    ray_folder: Path,
    environment: dict[str, str],
    write_sweep: Callable[..., Path],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
) -> dict[str, str]:
    """Run a sweep, a retraining, an export, and what fails; return what each said, and all command lines seen."""
    file = write_sweep(
        folder,
        trial={"architecture": "test_efficientnet", "strategy": "full", "epochs": 1},
        space={"lr": {"choice": [BAD, GOOD]}},
        search={"trials": 2, "points": [{"lr": BAD}, {"lr": GOOD}]},
        tracking={
            "wandb": {"mode": "offline"},
            "tensorboard": {},
            "mlflow": {},
            "notify": {"command": 'echo "cannot send with $HOOK_TOKEN"; exit 3', "wandb_alert": True},
        },
    )
    run = folder / "runs" / "sweep"
    said: dict[str, str] = {}
    with watched_command_lines() as seen:
        for name, arguments in {
            "sweep": ("sweep", file),
            "retrain": ("retrain", run),
            "export": ("export", run),
            "bucket": ("leaderboard", "s3://planted-bucket/runs/sweep"),
        }.items():
            ended = thaw(*arguments, cwd=folder, umask=UMASK, **environment)
            said[name] = f"exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return {**said, "command lines": "\n".join(seen)}


def test_the_commands_have_met_the_secrets(commands: dict[str, str], folder: Path) -> None:
    assert commands["sweep"].startswith("exit 0"), commands["sweep"]
    assert commands["retrain"].startswith("exit 0"), commands["retrain"]
    assert commands["export"].startswith("exit 0"), commands["export"]
    assert "cannot send with ***" in commands["sweep"], "the command of notify has had its variable"
    bad, good = Ledger(RunFolder(folder / "runs" / "sweep")).trials()
    assert (bad.status, good.status) == (Status.FAILED, Status.COMPLETED)
    assert bad.failure is not None
    assert "no answer from http://***@127.0.0.1:" in bad.failure.message
    assert "'HF_TOKEN': '***'" in bad.failure.traceback, "the whole environment was in its message"
    assert "s3://planted-bucket" in commands["bucket"]
    assert commands["bucket"].startswith("exit 2"), commands["bucket"]
    assert "ray::" in commands["command lines"]
    assert "gcs_server" in commands["command lines"]
    run = folder / "runs" / "sweep"
    for pattern in (
        "wandb/offline-run-*/*.wandb",
        "tensorboard/*/events.*",
        "mlruns/*/*/tags/status",
        "export/model.onnx",
        "winner/retrain.json",
    ):
        assert list(run.glob(pattern)), pattern


@pytest.mark.parametrize("where", ["sweep", "retrain", "export", "bucket", "command lines"])
def test_no_secret_is_printed_or_shown_by_ps(commands: dict[str, str], where: str, folder: Path) -> None:
    found = secrets_in(commands[where].encode(), planted(folder))
    assert not found, f"{where}: {found}"


def test_no_secret_is_left_in_a_file(commands: dict[str, str], folder: Path, ray_folder: Path) -> None:
    secrets = planted(folder)
    kept = {folder / "home" / "netrc", folder / "home" / ".ray" / "auth_token"}
    files = [path for root in (folder, ray_folder) for path in root.rglob("*") if path.is_file() and path not in kept]
    logs = [path for path in files if path.is_relative_to(ray_folder) and "logs" in path.parts]
    assert any("raylet" in path.name for path in logs)
    left = {str(path): found for path in files if (found := [*secrets_in_file(path, secrets)])}
    assert not left
    assert (folder / "home" / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600


def test_all_files_of_a_run_obey_the_umask(commands: dict[str, str], folder: Path) -> None:
    places = [place for root in ("runs", "cache") for place in (folder / root).rglob("*") if not place.is_symlink()]
    wrong = {
        str(place.relative_to(folder)): oct(mode)
        for place in places
        if (mode := stat.S_IMODE(place.stat().st_mode)) != (0o775 if place.is_dir() else 0o664)
    }
    assert not wrong


def test_the_search_finds_what_is_hidden_in_archives_and_spellings(tmp_path: Path) -> None:
    secret = PASSWORDS["DATABASE_URL"]
    plain = tmp_path / "plain"
    for content in (
        f"x{secret}y".encode(),
        *(base64.b64encode(b"x" * shift + secret.encode() + b"yz") for shift in range(3)),
        quote(SECRETS["AWS_SECRET_ACCESS_KEY"], safe="").encode(),
    ):
        plain.write_bytes(content)
        assert [*secrets_in_file(plain, [secret, SECRETS["AWS_SECRET_ACCESS_KEY"]])], content
    plain.write_bytes(secret.encode())
    with gzip.open(tmp_path / "a.gz", "wb") as packed:
        packed.write(plain.read_bytes())
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(plain, "inner")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed_files:
        packed_files.write(plain, "inner")
    for name in ("a.gz", "a.tar", "a.zip"):
        assert [*secrets_in_file(tmp_path / name, [secret])][:1] == [secret], name


def planted(folder: Path) -> list[str]:
    """Return all secrets, with the token that Ray was given in the home."""
    return [*SECRETS.values(), *PASSWORDS.values(), (folder / "home" / ".ray" / "auth_token").read_text()]


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Yield the command lines of all processes of the machine that run during the block."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for pid in psutil.pids():
                with suppress(psutil.Error):
                    seen.add(" ".join(psutil.Process(pid).cmdline()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def secrets_in_file(path: Path, secrets: list[str]) -> Iterator[str]:
    """Yield the secrets in a file, be it an archive or compressed."""
    content = path.read_bytes()
    yield from secrets_in(content, secrets)
    if content[:2] == b"\x1f\x8b":
        yield from secrets_in(gzip.decompress(content), secrets)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield from secrets_in(f"{table.schema.metadata}{table.to_pylist()}".encode(), secrets)
    if content[257:262] == b"ustar":
        with tarfile.open(path) as archive:
            for member in archive:
                opened = archive.extractfile(member)
                yield from secrets_in(b"" if opened is None else opened.read(), secrets)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            for name in packed.namelist():
                yield from secrets_in(packed.read(name), secrets)


def secrets_in(content: bytes, secrets: list[str]) -> list[str]:
    """Return the secrets in some bytes: plain, quoted as in a URL, or in base64 at any of its three positions."""
    return [secret for secret in secrets if any(form in content for form in forms(secret))]


def forms(secret: str) -> set[bytes]:
    value = secret.encode()
    spelled = {value, quote(secret, safe="").encode()}
    for shift in range(3):
        # What stands before and after the secret changes the digits at both ends.
        digits = base64.b64encode(bytes(shift) + value)
        whole = (shift + len(value)) // 3 * 4
        spelled.add(digits[(0, 4, 4)[shift] : whole])
        spelled.add(digits[(0, 4, 4)[shift] : whole].translate(bytes.maketrans(b"+/", b"-_")))
    return spelled
