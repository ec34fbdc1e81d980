"""Groups of images that a division keeps together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.data.split.groups import GROUPED_DISTANCE, joined, marks_in_names


def far_hashes(count: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)]


def flipped(number: int, bits: int, first: int = 0) -> int:
    return number ^ sum(1 << bit for bit in range(first, first + bits))


def test_marks_and_hashes_join() -> None:
    one, two, three, four = far_hashes(4)
    labels = dict.fromkeys("abcdefg", "cat")
    hashes = {"a": one, "b": flipped(one, GROUPED_DISTANCE), "c": two, "d": two, "e": three, "f": four}
    marks = [{"c": "x", "e": "x", "f": "", "g": ""}]
    assert joined(labels, marks, hashes) == [["a", "b"], ["c", "d", "e"], ["f"], ["g"]]
    assert joined(labels, [], {}) == [[path] for path in labels]


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_groups_are_the_same_in_every_order(random, kinds: int) -> None:
    bases = far_hashes(kinds)
    paths = [f"{number}.jpg" for number in range(20)]
    hashes = {path: flipped(random.choice(bases), random.choice([0, 5, 9, 20])) for path in paths[:15]}
    marks = [{path: random.choice(["", "x", "y"]) for path in paths[10:]}]
    labels = {path: random.choice(["cat", "dog"]) for path in paths}
    shuffled = dict(random.sample([*labels.items()], len(labels)))
    expected = {frozenset(group) for group in joined(labels, marks, hashes)}
    assert {frozenset(group) for group in joined(shuffled, marks, hashes)} == expected


def test_a_chain_that_would_swallow_a_class_is_cut_and_a_scene_is_not() -> None:
    base, other = far_hashes(2)
    chain = {f"chain{n}": flipped(base, 4 * n) for n in range(16)}  # each 4 bits from the next, the ends 60 apart
    scene = {f"scene{n}": other ^ (1 << n) for n in range(40)}
    few = dict.fromkeys(("a", "b"), "cat")
    labels = {**dict.fromkeys(chain, "cat"), **few, **dict.fromkeys(scene, "dog")}
    sizes = [len(group) for group in joined(labels, [], {**chain, **scene})]
    assert max(sizes) == 40, "2 bits apart at most"
    assert sizes.count(16) == 1, "small enough to be a scene"
    chain = {f"chain{n}": flipped(base, 3 * n) for n in range(20)}
    labels = {**dict.fromkeys(chain, "cat"), **few}
    assert max(len(group) for group in joined(labels, [], chain)) == 1


def test_names_say_the_patient() -> None:
    paths = ["cat/patient12_1.png", "cat/patient12_2.png", "dog/patient3_1.png"]
    assert [*marks_in_names("m", paths, r"patient(\d+)_").values()] == ["12", "12", "3"]
    assert [*marks_in_names("m", paths, r"^(cat|dog)/").values()] == ["cat", "cat", "dog"]
    assert [*marks_in_names("m", [*paths, "dog/x.png"], r"^(?:patient(\d+))?").values()] == ["12", "12", "3", ""]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (
            "patient",
            r"photos: group_by must be a column of the manifest, or a regular .* \(0 groups\)",
        ),
        (r"(a)(b)", r"got '\(a\)\(b\)' \(2 groups\)"),
        ("(", r"missing \), unterminated subpattern"),
        (
            r"_(2)\.",
            r"must match the name of every file, .* match cat/1_1.png, cat/1_3.png, cat/1_4.png and 1 more",
        ),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, message: str) -> None:
    paths = [f"cat/1_{number}.png" for number in range(1, 6)]
    with pytest.raises(InvalidInput, match=message):
        marks_in_names("photos", paths, pattern)
