"""Pairs of near hashes, against the plain double loop; and their groups."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.check.near_duplicates import confirmed, groups, near_pairs

# Few bits that differ, so that many pairs are near, and some hashes are equal.
hashes = st.lists(
    st.lists(st.integers(0, 63), max_size=4).map(lambda bits: sum(1 << bit for bit in set(bits))), max_size=25
)


@given(hashes, st.integers(0, 20))
def test_all_near_pairs_are_found_once(numbers: list[int], distance: int) -> None:
    expected = [
        [i, j]
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (numbers[i] ^ numbers[j]).bit_count() <= distance
    ]
    assert near_pairs(np.array(numbers, dtype=np.uint64), distance).tolist() == expected


@pytest.mark.parametrize("kind", ["random", "alike"])
def test_twenty_thousand_images_take_seconds_and_little_memory(kind: str) -> None:
    random = np.random.default_rng(0)
    found = random.integers(0, 2**64, 20_000, dtype=np.uint64)
    if kind == "alike":  # a third of them blank, and the others in a half of the bits
        found &= np.uint64(0xFFFF0000FFFF0000)
        found[:1000] = 0
    tracemalloc.start()
    start = time.process_time()
    pairs = near_pairs(found, 6)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 30
    assert peak < 2**30
    assert len(pairs) >= (499_500 if kind == "alike" else 0)


def test_confirmed_pairs_point_in_one_direction() -> None:
    features = np.array([[1, 0], [2, 0.1], [0, 1], [0, 0]], dtype=np.float32)
    pairs = np.array([[0, 1], [0, 2], [0, 3]])
    assert confirmed(pairs, features).tolist() == [[0, 1]]
    assert confirmed(pairs, features, -1).tolist() == pairs.tolist()


@given(st.integers(1, 12), st.data())
def test_groups_are_the_connected_components(count: int, data) -> None:
    index = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=12))
    found = groups(count, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    assert sorted(i for group in found for i in group) == list(range(count))
    assert found == sorted(sorted(group) for group in found)
    where = {i: number for number, group in enumerate(found) for i in group}
    assert all(where[i] == where[j] for i, j in pairs)
    reached = {frozenset([i]) for i in range(count)}
    for i, j in pairs:
        one, other = (next(group for group in reached if k in group) for k in (i, j))
        reached = {group for group in reached if group not in (one, other)} | {one | other}
    assert {frozenset(group) for group in found} == reached
