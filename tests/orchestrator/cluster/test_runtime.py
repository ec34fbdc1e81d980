"""Addresses of clusters. Ray itself is started in `tests/integration`."""

import socket
from pathlib import Path

import pytest
import ray

from orchestrator.cluster.runtime import cluster_size, connected, is_joined, joined_address
from search_spaces.errors import InvalidInput


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that is connected to no cluster, whatever other tests have started in this one."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.parametrize(
    ("address", "variable", "joined"),
    [
        (None, None, None),
        (None, "", None),
        ("local", "head:6379", None),
        ("auto", None, "auto"),
        (None, "auto", "auto"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        ("head:6379", "other:6379", "head:6379"),
        ("[::1]:6379", None, "[::1]:6379"),
    ],
)
def test_the_address_is_the_given_one_then_the_environment_s_then_a_ray_of_our_own(
    address: str | None, variable: str | None, joined: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    assert joined_address(address) == joined
    assert is_joined(address) == (joined is not None)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://head:8265", r"got http://head:8265; .* hand the sweep over: thaw submit SWEEP.yaml --address http://"),
        ("ray://head:10001", r"must be `auto` or HOST:PORT of the cluster that this machine is a node of"),
        ("head", r"must be `auto` or HOST:PORT, got head; Ray's own port is 6379: head:6379"),
        ("head:", r"got head:; Ray's own port is 6379: head:6379"),
        ("head:port", r"must be `auto` or HOST:PORT, got head:port"),
    ],
)
def test_an_address_of_another_kind_is_refused(address: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=message):
        joined_address(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InvalidInput, match=message):
        joined_address(None)


def test_an_address_at_which_nothing_listens_is_refused_at_once(apart: None, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # ours, and not listened to
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        here = Path.cwd()
        with (
            pytest.raises(InvalidInput, match=rf"a Ray cluster must answer, got nothing at {address}: .*refused"),
            connected(tmp_path, address=address),
        ):
            pytest.fail("nothing answers there")
    assert Path.cwd() == here


def test_without_a_connection_there_is_no_cluster(apart: None) -> None:
    assert cluster_size() == {}
