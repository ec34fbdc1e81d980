from pathlib import Path

import pytest

from orchestrator.spec.sections import cache_budget
from search_spaces.errors import InvalidInput
from trainables.storage.folders import cache_folder


def test_the_cache_is_the_configured_folder_then_the_environment_s_then_home() -> None:
    assert cache_folder(Path("/a"), {"THAW_CACHE_DIR": "/b"}) == Path("/a")
    assert cache_folder(None, {"THAW_CACHE_DIR": "/b"}) == Path("/b")
    assert cache_folder(None, {"THAW_CACHE_DIR": ""}) == cache_folder(None, {}) == Path.home() / ".cache" / "thaw"


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
