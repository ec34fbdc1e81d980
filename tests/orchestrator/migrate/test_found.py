import pytest

from orchestrator.migrate.found import FoundValues, short_value
from search_spaces.errors import InvalidInput


def test_two_keys_of_one_setting_agree_or_are_refused() -> None:
    found = FoundValues("old.yaml")
    found.put("lr", 0.1, "lr")
    found.put("lr", 0.1, "optimizer.lr")
    with pytest.raises(InvalidInput, match=r"old.yaml: lr and base_lr must agree, got 0.1 and 0.2; remove one"):
        found.put("lr", 0.2, "base_lr")
    assert (found.take("lr"), found.take("lr"), found.prefix("lr"), found.prefix("x")) == (0.1, None, "lr -> ", "")
    assert found.keys_of(["x", "lr"]) == "lr"


def test_an_entry_is_listed_or_refused_by_its_subject() -> None:
    found = FoundValues("old.yaml")
    found.miss("workers", 4, "")
    found.miss("optimizer", "lamb", "unknown")
    found.check()
    assert found.unknown == ["workers: 4", "optimizer: lamb (unknown)"]
    found.miss("freeze_it", 1, "", "freezing")
    found.refuse("balance", "sampler: must be one")
    with pytest.raises(InvalidInput) as error:
        found.check()
    assert str(error.value).splitlines() == [
        "old.yaml: freeze_it: must be understood, got 1; remove it, and set `strategy` in the new file: head, partial, "
        "progressive, gradual or full",
        "old.yaml: sampler: must be one; remove it, and set `balance` in the new file: none, sampler or loss",
    ]


def test_a_value_is_one_short_line() -> None:
    assert short_value("a\n b") == "a b"
    assert len(short_value("x" * 200)) == 80
