import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.domains import Choice, Float, Int, Scalar
from search_spaces.errors import InvalidInput
from search_spaces.space import Branch, SearchSpace

Spaces = Callable[..., st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]]

GUIDE = {
    "architecture": {"choice": ["resnet18", "vgg11"]},
    "unfreeze_epoch": {"int": [1, 4], "when": {"strategy": "progressive"}},
    "strategy": {"choice": ["head", "progressive", "full"]},
    "lr": [
        {"log": [1e-3, 3e-2], "when": {"strategy": "head"}},
        {"log": [1e-5, 1e-3], "when": {"strategy": ["progressive", "full"]}},
    ],
}
HEAD = {"architecture": "vgg11", "strategy": "head", "lr": 0.01}


def space(raw: dict[str, Any], **fixed: Any) -> SearchSpace:
    return SearchSpace.parse(raw, fixed)


def draw(parsed: SearchSpace, seed: int) -> dict[str, Scalar]:
    """A random point, by the traversal that every user of the space shares; a name's value depends on it alone."""

    def pick(name: str, branch: Branch) -> Scalar:
        chance = random.Random(f"{seed} {name}")
        match branch.domain:
            case Choice(values):
                return chance.choice(values)
            case Int(low, high):
                return chance.randint(low, high)
            case Float(low, high):
                return min(max(chance.uniform(low, high), low), high)

    return parsed.walk(pick)


def test_the_file_s_order_is_kept_except_that_parents_come_first() -> None:
    assert list(space(GUIDE).dimensions) == ["architecture", "strategy", "unfreeze_epoch", "lr"]


def test_every_branch_has_a_label_of_its_own() -> None:
    labels = [branch.label(name) for name, branches in space(GUIDE).dimensions.items() for branch in branches]
    assert labels == [
        "architecture",
        "strategy",
        "unfreeze_epoch (strategy: progressive)",
        "lr (strategy: head)",
        "lr (strategy: progressive or full)",
    ]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"lr": []}, "space.lr: must have at least one domain, got an empty list"),
        ({"lr": 0.1}, "space.lr: must be a domain such as"),
        ({"lr": [{"log": [1, 2]}, 3]}, "space.lr[1]: must be a domain such as"),
        ({"epochs": {"int": [1, 2]}}, "space.epochs: is set under `trial` as well (to 6); remove one of the two"),
        ({"a": {"int": [1, 2], "when": "b"}}, "space.a.when: must be {dimension: value} or {dimension: [values]}"),
        ({"a": {"int": [1, 2], "when": {"b": []}}}, "space.a.when.b: must be a value or a list of values, got []"),
        ({"a": {"int": [1, 2], "when": {"b": None}}}, "space.a.when.b: must be a value or a list of values, got None"),
        ({"a": {"int": [1, 2], "when": {"f": [["x"]]}}}, "space.a.when.f: must be a value or a list of values"),
        ({"a": {"int": [1, 2], "when": {True: "x"}}}, "space.a.when: must name a dimension, got True; quote"),
        (
            {"strategy": {"choice": ["a"]}, "lr": {"log": [1, 2], "when": {"strateggy": "a"}}},
            "space.lr.when.strateggy: unknown dimension; did you mean strategy?",
        ),
        (
            {"strategy": {"choice": ["a", "b"]}, "lr": {"log": [1, 2], "when": {"strategy": "c"}}},
            "space.lr.when.strategy: must be a value of strategy (a | b), got 'c'",
        ),
        (
            {"k": {"int": [1, 3]}, "lr": {"log": [1, 2], "when": {"k": [1, 4]}}},
            "space.lr.when.k: must be a value of k (1 .. 3), got 4",
        ),
        (
            {"dropout": {"float": [0, 1]}, "lr": {"log": [1, 2], "when": {"dropout": 0}}},
            "space.lr.when.dropout: must be a dimension with countable values, but dropout is continuous; list",
        ),
        (
            {"s": {"choice": ["a", "b"]}, "lr": [{"log": [1, 2], "when": {"s": "a"}}, {"log": [1, 2]}]},
            "space.lr: at most one domain may apply at once, but lr (s: a) and lr can both; give them different values",
        ),
        (
            {
                "s": {"choice": ["a", "b", "c"]},
                "lr": [{"log": [1, 2], "when": {"s": ["a", "b"]}}, {"int": [1, 2], "when": {"s": ["b", "c"]}}],
            },
            "space.lr: at most one domain may apply at once, but lr (s: a or b) and lr (s: b or c) can both",
        ),
        (
            {"a": {"choice": ["x"], "when": {"b": "x"}}, "b": {"choice": ["x"], "when": {"a": "x"}}},
            "space: conditions must not go in a circle, got ",
        ),
        ({"a": {"choice": ["x"], "when": {"a": "x"}}}, "space: conditions must not go in a circle, got a -> a"),
    ],
)
def test_what_is_no_space_is_refused_with_its_place_and_value(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        space(raw, epochs=6, f="x")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lrr": 1}, "point.lrr: unknown dimension; did you mean lr?"),
        ({"lr": None}, "point.lr: must be from 0.001 .. 0.03 (log), got None"),
        ({"lr": 1e-4}, "point.lr: must be from 0.001 .. 0.03 (log), got 0.0001"),
        ({"strategy": "ful"}, "point.strategy: must be from head | progressive | full, got 'ful'"),
        ({"strategy": "progressive"}, "point.unfreeze_epoch: required here, but not set; give a value from 1 .. 4"),
        (
            {"unfreeze_epoch": 2},
            "point.unfreeze_epoch: does not apply to this point, "
            "only unfreeze_epoch (strategy: progressive); remove it",
        ),
    ],
)
def test_a_point_outside_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    parsed = space(GUIDE)
    assert parsed.contains(HEAD)
    with pytest.raises(InvalidInput) as caught:
        parsed.validate(HEAD | changes)
    assert str(caught.value) == message
    assert not parsed.contains(HEAD | changes)


def test_validation_puts_a_point_in_order_and_makes_whole_numbers_real_ones() -> None:
    parsed = space({"a": {"float": [0, 2]}, "b": {"choice": [1, 2]}})
    checked = parsed.validate({"b": 1, "a": 1})
    assert list(checked.items()) == [("a", 1.0), ("b", 1)]
    assert type(checked["a"]) is float


@given(data=st.data(), seed=st.integers(0, 2**32))
def test_every_drawn_point_is_valid_and_no_other_set_of_dimensions_is(
    raw_spaces: Spaces, data: st.DataObject, seed: int
) -> None:
    parsed = SearchSpace.parse(*data.draw(raw_spaces()))
    point = draw(parsed, seed)
    assert parsed.validate(point) == point
    assert list(parsed.validate(dict(reversed(point.items())))) == list(point)
    for name in parsed.dimensions:
        if name not in point:
            assert not parsed.contains(point | {name: 1})
            continue
        assert not parsed.contains({other: value for other, value in point.items() if other != name})
        branch = parsed.active(name, point)
        assert branch is not None
        assert not parsed.contains(point | {name: None})
        if isinstance(branch.domain, Int | Float):
            assert not parsed.contains(point | {name: branch.domain.high + 1})
            assert not parsed.contains(point | {name: branch.domain.low - 1})


@given(data=st.data())
def test_dimensions_keep_their_order_except_behind_their_parents(raw_spaces: Spaces, data: st.DataObject) -> None:
    raw, fixed = data.draw(raw_spaces())
    parsed = SearchSpace.parse(raw, fixed)
    order = list(parsed.dimensions)
    assert sorted(order) == sorted(raw)
    for place, name in enumerate(order):
        parents = {p for branch in parsed.dimensions[name] for p in branch.when if p in raw}
        assert parents <= set(order[:place])
        waiting = [other for other in order[place + 1 :] if list(raw).index(other) < list(raw).index(name)]
        for other in waiting:
            assert any(p in order[place:] for branch in parsed.dimensions[other] for p in branch.when)


@given(data=st.data())
def test_the_grid_is_every_valid_point_once(raw_spaces: Spaces, data: st.DataObject) -> None:
    parsed = SearchSpace.parse(*data.draw(raw_spaces(countable=True)))
    points = list(parsed.grid())
    assert len(points) == parsed.size()
    assert len({tuple(point.items()) for point in points}) == len(points)
    assert all(parsed.validate(point) == point for point in points)
    assert all(draw(parsed, seed) in points for seed in range(10))


@given(data=st.data())
def test_corners_are_valid_and_reach_every_end_of_every_branch(raw_spaces: Spaces, data: st.DataObject) -> None:
    raw, fixed = data.draw(raw_spaces())
    parsed = SearchSpace.parse(raw, fixed)
    together = data.draw(st.sets(st.sampled_from([*raw, "absent"])))
    corners = list(parsed.corners(together))
    assert all(parsed.contains(point) for point in corners)
    assert len({tuple(point.items()) for point in corners}) == len(corners)
    reached = {end for point in corners for end in ends(parsed, point)}
    # The same space with only the ends of its ranges of real numbers is countable.
    assert reached >= {end for point in SearchSpace.parse(ends_only(raw), fixed).grid() for end in ends(parsed, point)}


def ends(parsed: SearchSpace, point: dict[str, Scalar]) -> list[tuple[str, Scalar]]:
    """The values of a point that are ends of their branches, with the branches' labels."""
    branches = {name: parsed.active(name, point) for name in point}
    return [(b.label(name), point[name]) for name, b in branches.items() if b and point[name] in b.domain.corners()]


def ends_only(raw: dict[str, Any]) -> dict[str, Any]:
    def listed(domain: dict[str, Any]) -> dict[str, Any]:
        return {"choice" if key in ("float", "log") else key: value for key, value in domain.items()}

    return {
        name: [listed(domain) for domain in value] if isinstance(value, list) else listed(value)
        for name, value in raw.items()
    }


def test_corners_combine_what_is_tied_together() -> None:
    parsed = space({"a": {"int": [1, 9]}, "b": {"int": [1, 9]}, "c": {"int": [1, 9]}})
    corners = [tuple(point.values()) for point in parsed.corners(["a", "b"])]
    assert {(1, 1, 1), (1, 9, 1), (9, 1, 1), (9, 9, 1), (9, 9, 9)} <= set(corners)


def test_corners_reach_a_branch_below_a_number_between_the_ends() -> None:
    parsed = space({"k": {"int": [1, 5]}, "x": {"int": [1, 2], "when": {"k": 3}}})
    assert {"k": 3, "x": 2} in list(parsed.corners([]))


def test_a_grid_of_real_numbers_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"space.lr: a grid needs countable values, got 0.001 .. 0.03 \(log\); list"):
        list(space(GUIDE).grid())
    assert space(GUIDE).size() is None


def test_an_empty_space_is_one_point() -> None:
    assert space({}).size() == 1
    assert list(space({}).grid()) == [{}]
    assert list(space({}).corners(["a"])) == [{}]


@given(data=st.data(), seed=st.integers(0, 99))
def test_a_fixed_setting_and_a_choice_of_one_are_the_same(raw_spaces: Spaces, data: st.DataObject, seed: int) -> None:
    raw, fixed = data.draw(raw_spaces())
    values = {v for b in SearchSpace.parse(raw, fixed).dimensions.values() for own in b for v in own.when.get("f", ())}
    assume(values <= {fixed["f"]})  # a condition on a value that the choice lacks is refused as a slip
    moved = SearchSpace.parse({**raw, "f": {"choice": [fixed["f"]]}}, {})
    assert draw(SearchSpace.parse(raw, fixed), seed) | fixed == draw(moved, seed)
    assert moved.size() == SearchSpace.parse(raw, fixed).size()


def test_the_default_takes_preferences_and_first_choices() -> None:
    parsed = space(GUIDE)
    assert parsed.nearest_default({"strategy": "head", "lr": 0.002}) == {
        "architecture": "resnet18",
        "strategy": "head",
        "lr": 0.002,
    }
    assert parsed.nearest_default({"strategy": "partial", "lr": 0.002}) is None  # a preference outside
    assert parsed.nearest_default({"strategy": "head"}) is None  # a range without a preference
    assert parsed.nearest_default({"strategy": "full", "lr": 0.002}) is None  # outside of that branch


def test_the_tree_shows_every_dimension_below_its_parent() -> None:
    raw = {
        **GUIDE,
        "k": {"int": [1, 5]},
        "rare": {"choice": ["x"], "when": {"k": 3}},
        "both": {"choice": ["y"], "when": {"architecture": "vgg11", "strategy": "full"}},
        "never": {"choice": ["z"], "when": {"seed": 1}},
        "always": {"choice": ["z"], "when": {"seed": 42}},
    }
    assert space(raw, seed=42).tree() == [
        "architecture: resnet18 | vgg11",
        "strategy: head | progressive | full",
        "  head",
        "    lr: 0.001 .. 0.03 (log)",
        "  progressive",
        "    unfreeze_epoch: 1 .. 4",
        "    lr: 1e-05 .. 0.001 (log)",
        "  full",
        "    lr: 1e-05 .. 0.001 (log)",
        "    both: y   when architecture = vgg11",
        "k: 1 .. 5",
        "  3",
        "    rare: x",
        "always: z",
    ]


def test_draws_lie_in_the_space_and_depend_on_the_seed_alone() -> None:
    raw = {
        "strategy": {"choice": ["head", "progressive"]},
        "unfreeze_epoch": {"int": [1, 3], "when": {"strategy": "progressive"}},
        "lr": {"log": [1e-4, 1e-2]},
        "dropout": {"float": [0.0, 0.5]},
    }
    space = SearchSpace.parse(raw, {})
    first, again, other = (
        [point for point, _ in zip(space.draws(seed), range(200), strict=False)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert all(space.contains(point) for point in first)
    assert {point.get("unfreeze_epoch") for point in first} == {None, 1, 2, 3}
    assert 80 < sum(point["lr"] < 1e-3 for point in first) < 120, "half of the decades"
