from typing import Any

import pytest

from search_spaces.domains import Choice, Domain, Float, Int, parse_domain
from search_spaces.errors import InvalidInput


@pytest.mark.parametrize(
    ("raw", "domain", "text", "size"),
    [
        ({"choice": ["a", 1, 0.5]}, Choice(("a", 1, 0.5)), "a | 1 | 0.5", 3),
        ({"int": [1, 3]}, Int(1, 3), "1 .. 3", 3),
        ({"int": [2, 2]}, Int(2, 2), "2 .. 2", 1),
        ({"float": [0, 0.4]}, Float(0.0, 0.4), "0 .. 0.4", None),
        ({"log": [1e-5, 1], "when": {"a": "b"}}, Float(1e-5, 1.0, log=True), "1e-05 .. 1 (log)", None),
    ],
)
def test_domains_are_read_counted_and_shown(raw: Any, domain: Domain, text: str, size: int | None) -> None:
    assert parse_domain(raw, "space.x") == domain
    assert str(domain) == text
    assert domain.size() == size
    assert all(domain.contains(value) for value in domain.corners())


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Choice(("a", 1)), ["a", 1], ["b", 1.0, True, None, [1]]),
        (Int(1, 3), [1, 3], [0, 4, 2.0, True, "2"]),
        (Float(0.5, 2.0), [0.5, 1, 2.0], [0.4, 2.1, True, "1", float("nan")]),
    ],
)
def test_a_value_is_inside_by_type_and_range(domain: Domain, inside: list[Any], outside: list[Any]) -> None:
    assert all(domain.contains(value) for value in inside)
    assert not any(domain.contains(value) for value in outside)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (0.1, "space.x: must be a domain such as {choice: [a, b]} or {log: [1e-5, 1e-3]}, got 0.1; a value that"),
        ({"lgo": [1, 2]}, "space.x.lgo: unknown kind of domain; did you mean log or float?"),
        ({"choice": [1], "wen": {}}, "space.x.wen: unknown kind of domain; did you mean when?"),
        ({1: 2}, "space.x.1: unknown kind of domain; valid are choice, int, float, log, when"),
        ({}, "space.x: must have exactly one of choice, int, float, log, got none"),
        ({"int": [1, 2], "log": [1, 2]}, "space.x: must have exactly one of choice, int, float, log, got int, log"),
        ({"choice": []}, "space.x.choice: must be a list with at least one value, got []; write [a, b]"),
        ({"choice": "a"}, "space.x.choice: must be a list with at least one value, got 'a'; write [a, b]"),
        ({"choice": ["a", None]}, "space.x.choice: values must be names or numbers, got None; quote a name"),
        ({"choice": [["a"]]}, "space.x.choice: values must be names or numbers, got ['a']"),
        ({"choice": ["a", "a"]}, "space.x.choice: values must differ, got 'a' and 'a'; remove one"),
        ({"choice": [1, 1.0]}, "space.x.choice: values must differ, got 1 and 1.0; remove one"),
        ({"choice": [True, 1]}, "space.x.choice: values must differ, got True and 1; remove one"),
        ({"choice": [1, "1"]}, "space.x.choice: values must differ, got 1 and '1'; remove one"),
        ({"int": [1, 2, 3]}, "space.x.int: must be [low, high], got [1, 2, 3]"),
        ({"int": 3}, "space.x.int: must be [low, high], got 3"),
        ({"int": [1, 2.5]}, "space.x.int: low and high must be whole numbers, got 2.5"),
        ({"int": [False, 2]}, "space.x.int: low and high must be whole numbers, got False"),
        ({"log": ["1", 2]}, "space.x.log: low and high must be finite numbers, got '1'; write them without quotes"),
        ({"float": [0, float("inf")]}, "space.x.float: low and high must be finite numbers, got inf"),
        ({"int": [3, 1]}, "space.x: low must be below high, got low=3, high=1"),
        ({"log": [0.1, 0.01]}, "space.x: low must be below high, got low=0.1, high=0.01"),
        ({"float": [1, 1]}, "space.x: low must be below high, got low=1, high=1"),
        ({"log": [0, 1]}, "space.x: a log range must be above zero, got low=0; raise it, or use float"),
    ],
)
def test_what_is_no_domain_is_refused_with_its_place_and_value(raw: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_domain(raw, "space.x")
    assert str(caught.value).startswith(message)
