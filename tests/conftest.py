"""Fixtures of more than one room."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import orchestrator  # noqa: F401  (sets Ray's environment before any test imports Ray)
import trainables  # noqa: F401  (sets OpenMP's environment before any test imports torch)

# The models of the tests are too small to share out, and other tests want the other cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in the background, it lets ignore Ctrl-C, and so do all children: `make test &`.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a busy machine.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by their marks `seconds`, so that none of the long ones begins when the others are done.

    What is slow has half an hour, two at a time on a slow machine.
    """
    items.sort(key=lambda item: -max((mark.args[0] for mark in item.iter_markers("seconds")), default=0))
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


# The space as it stands in a sweep file, and the fixed settings beneath it.
RawSpace = tuple[dict[str, Any], dict[str, Any]]

CHOICES = ["a", "b c", "none", "1e-3", "[x]", 2, -3, 0.5, 1e-7]


@pytest.fixture(scope="session")
def raw_spaces() -> Callable[..., st.SearchStrategy[RawSpace]]:
    """Generated conditional spaces, their dimensions in any order; `countable` leaves out real numbers."""
    return _raw_spaces


@st.composite
def _raw_spaces(draw: st.DrawFn, *, countable: bool = False) -> RawSpace:
    fixed = {"f": draw(st.sampled_from(["x", "y"]))}
    possible: dict[str, list[Any]] = {"f": ["x", "y"]}
    space: dict[str, Any] = {}
    for name in [f"d{number}" for number in range(draw(st.integers(1, 5)))]:
        domains = _domains(countable=countable)
        if draw(st.booleans()):
            parent = draw(st.sampled_from(sorted(possible)))
            values = draw(st.permutations(possible[parent]))
            cut = draw(st.integers(1, len(values)))
            parts = [part for part in (values[:cut], values[cut:]) if part]
            branches = [draw(domains) | {"when": {parent: part}} for part in parts[: draw(st.integers(1, 2))]]
            others = sorted(set(possible) - {parent})
            if others and draw(st.booleans()):
                other = draw(st.sampled_from(others))
                branches[0]["when"][other] = draw(st.sampled_from(possible[other]))
        else:
            branches = [draw(domains)]
        space[name] = branches if len(branches) > 1 or draw(st.booleans()) else branches[0]
        values = [value for branch in branches for value in _values(branch)]
        if values and all("choice" in branch or "int" in branch for branch in branches):
            possible[name] = sorted(set(values), key=str)
    return {name: space[name] for name in draw(st.permutations(list(space)))}, fixed


def _values(branch: dict[str, Any]) -> list[Any]:
    if "int" in branch:
        return list(range(branch["int"][0], branch["int"][1] + 1))
    return list(branch.get("choice", ()))


def _domains(*, countable: bool) -> st.SearchStrategy[dict[str, Any]]:
    choices = st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3, unique=True).map(lambda v: {"choice": v})
    whole = st.tuples(st.integers(-2, 3), st.integers(0, 3)).map(lambda v: {"int": [v[0], v[0] + v[1]]})
    if countable:
        return choices | whole
    real = st.tuples(st.floats(-5, 5), st.floats(0.1, 9)).map(lambda v: {"float": [v[0], v[0] + v[1]]})
    logarithmic = st.tuples(st.floats(1e-6, 1), st.floats(1.5, 1e3)).map(lambda v: {"log": [v[0], v[0] * v[1]]})
    return choices | whole | real | logarithmic


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of scikit-learn's handwritten digits as train/ val/ test/, 367 + 79 + 79 images."""
    from trainables.data.digits import write_digits

    root = tmp_path_factory.mktemp("data") / "digits"
    write_digits(root, keep=dict.fromkeys(range(10), 0.3))
    return root


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The node-local cache of this session, for whatever runs in it or is started by it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        # As in many containers: every process would compile what is not compiled yet, which is dear.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("THAW_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def ray_here(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[None]:
    """A Ray with two cores, one for all tests in this process; `thaw` in this process joins it."""
    from orchestrator.cluster import runtime

    with runtime.connected(tmp_path_factory.mktemp("ray"), cpus=2):
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of 1 MiB, and a function that gives it another size in MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=1m"):
        pytest.skip("only root may mount a disk")
    yield disk, lambda size: mount(f"remount,size={size}m") or pytest.fail("cannot change the size of the disk")
    subprocess.run(["umount", str(disk)], check=True)


S3_SERVER = Path(__file__).parent / "helpers" / "s3_server.py"


@pytest.fixture(scope="session")
def s3_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Log of the S3 service, see `s3_server.py`: one line per request."""
    return tmp_path_factory.mktemp("s3") / "requests.log"


@pytest.fixture(scope="session")
def s3_server(s3_log: Path) -> Iterator[dict[str, str]]:
    """An S3 service on this machine, spoken to over HTTP; the environment that leads there."""
    with subprocess.Popen(
        [sys.executable, S3_SERVER, s3_log, "127.0.0.1", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        process.kill()


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket of that service, `s3://...`, for whatever runs in this process or is started by it."""
    from pyarrow.fs import S3FileSystem

    from trainables.storage.bucket import _file_system

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid.uuid4().hex[:12]}"
    S3FileSystem(endpoint_override=s3_server["AWS_ENDPOINT_URL"], allow_bucket_creation=True).create_dir(name)
    yield f"s3://{name}"
    _file_system.cache_clear()


@pytest.fixture(scope="session")
def write_sweep(digits: Path, cache_dir: Path) -> Callable[..., Path]:
    """Writes folder/sweep.yaml: small sweeps on the digits, whose sections can be replaced."""
    from search_spaces.documents import dump_yaml

    def write(folder: Path, **sections: Any) -> Path:
        trial = {"weights": "none", "optimizer": "adamw", "scheduler": "constant", "seed": 1}
        sweep = {
            "name": "sweep",
            "data": {"root": str(digits), "image_size": 32, "resize_mode": "squash"},
            "trial": {**trial, "architecture": "test_efficientnet", "strategy": "full", "epochs": 2},
            "space": {"lr": {"log": [1e-3, 1e-2]}},
            "stopping": "none",
            "resources": {"concurrent": 2},
            "tracking": {"wandb": {"mode": "disabled"}},
            **sections,
        }
        if "trial" in sections:
            sweep["trial"] = {**trial, **sections["trial"]}
        path = folder / "sweep.yaml"
        path.write_text(dump_yaml(sweep))
        return path

    return write


@pytest.fixture(scope="session")
def start_thaw(cache_dir: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `thaw` as people do, in a process group of its own; nothing of the test's own state reaches it."""

    def start(*arguments: object, cwd: Path, umask: int = -1, **environment: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("thaw")), *map(str, arguments)]
        # A wide terminal: what is looked for in the output must not be folded.
        # Without W&B's process of another test, whose umask and environment are this process's.
        own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        variables = {**own, "COLUMNS": "200", "WANDB_SILENT": "true", **environment}
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            umask=umask,
        )

    return start


@pytest.fixture(scope="session")
def thaw(start_thaw: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `thaw` as people do, to its end."""

    def run(
        *arguments: object, cwd: Path, timeout: float = 400, umask: int = -1, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        with start_thaw(*arguments, cwd=cwd, umask=umask, **environment) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def assert_nothing_is_left() -> Callable[[set[int]], None]:
    """No resource and no placement group is held, no actor lives, and the processes of the trials are gone."""
    import psutil
    import ray

    def check(pids: set[int]) -> None:
        assert pids
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            groups = [group for group in ray.util.placement_group_table().values() if group["state"] != "REMOVED"]
            alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
            free = ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]
            if free and not groups and not alive:
                return
            time.sleep(0.5)
        pytest.fail(f"left: placement groups {groups}, processes {alive}, all cores free: {free}")

    return check
