from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.spec.loading import load
from orchestrator.spec.sections import Resources, cache_budget
from search_spaces.errors import InvalidInput

Small = Callable[..., Path]


def test_the_cache_s_budget_is_the_configured_one_then_the_environment_s_then_the_cache_s_own() -> None:
    assert cache_budget(5, {"THAW_CACHE_BUDGET": "2GiB"}) == 5
    assert cache_budget(0, {"THAW_CACHE_BUDGET": "2GiB"}) == 0
    assert cache_budget(None, {"THAW_CACHE_BUDGET": "2GiB"}) == 2 * 2**30
    for wanted in ({}, {"THAW_CACHE_BUDGET": ""}, {"THAW_CACHE_BUDGET": "auto"}):
        assert cache_budget(None, wanted) is None
    with pytest.raises(
        InvalidInput, match=r"^\$THAW_CACHE_BUDGET: cache_budget: must be a number of bytes.* got 'much'; write e.g. 20"
    ):
        cache_budget(None, {"THAW_CACHE_BUDGET": "much"})


def test_tensorboard_is_off_until_it_is_asked_for(small: Small) -> None:
    assert load(small()).tracking.tensorboard is None
    assert load(small(tracking={"tensorboard": "none"})).tracking.tensorboard is None
    assert "tensorboard: none" in load(small()).to_yaml()


@pytest.mark.parametrize(("written", "bytes_"), [("20GiB", 20 * 2**30), ("1MB", 10**6), (0, 0), (123, 123)])
def test_the_cache_s_budget_has_units(small: Small, written: Any, bytes_: int) -> None:
    assert load(small(storage={"cache_budget": written})).storage.cache_budget == bytes_


@pytest.mark.parametrize("written", ["much", -3, "3 bananas"])
def test_a_cache_budget_that_is_no_number_of_bytes(small: Small, written: Any) -> None:
    with pytest.raises(InvalidInput, match=r"storage.cache_budget: must be a number of bytes.*; write e.g. 20GiB"):
        load(small(storage={"cache_budget": written}))


@pytest.mark.parametrize(("written", "kept"), [("none", None), (1, 1), (20, 20)])
def test_how_many_trials_keep_their_weights(small: Callable[..., Path], written: object, kept: int | None) -> None:
    assert load(small(storage={"keep_best": written})).storage.keep_best == kept
    with pytest.raises(InvalidInput, match=r"storage.keep_best: must be at least 1, or none, got 0"):
        load(small(storage={"keep_best": 0}))


def test_a_worker_has_threads_for_its_cores_but_at_least_one() -> None:
    assert [Resources(cpus_per_worker=cores).threads for cores in (0.5, 1, 3.9)] == [1, 1, 3]


def test_several_workers_and_one_that_may_be_killed_run_in_processes_of_their_own() -> None:
    assert not Resources().needs_worker_group
    assert Resources(workers=2).needs_worker_group
    assert Resources(epoch_timeout=60).needs_worker_group
