"""Ray for the tests of a file."""

from collections.abc import Iterator

import pytest

from orchestrator.cluster import runtime


@pytest.fixture(scope="module")
def ray_here(tmp_path_factory: pytest.TempPathFactory, cache_dir: object) -> Iterator[None]:
    """A Ray with two cores that ends with its file: the next file may start a cluster, and a process joins one Ray."""
    with runtime.connected(tmp_path_factory.mktemp("ray"), cpus=2):
        yield
