"""Places of groups of several classes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from trainables.data.split.wide_groups import place_groups

SPLITS = ("train", "val", "test")
wide = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=2).map(Counter), min_size=1, max_size=40
)


def targets_of(groups) -> dict[str, dict[str, int]]:
    sizes = sum(groups, Counter())
    part = {label: max(1, round(0.2 * size)) for label, size in sizes.items()}
    return {"train": {label: size - 2 * part[label] for label, size in sizes.items()}, "val": part, "test": part}


def missed(groups, places, targets) -> float:
    have = {split: sum((g for g, p in zip(groups, places, strict=True) if p == split), Counter()) for split in SPLITS}
    sizes = sum(groups, Counter())
    return sum(((have[split][c] - targets[split][c]) / sizes[c]) ** 2 for split in SPLITS for c in sizes)


@given(wide)
def test_no_single_move_comes_closer_to_the_shares(groups) -> None:
    targets = targets_of(groups)
    places = place_groups(groups, targets, ())
    best = missed(groups, places, targets)
    for index, old in enumerate(places):
        for split in SPLITS:
            moved = [*places[:index], split, *places[index + 1 :]]
            assert split == old or missed(groups, moved, targets) > best - 1e-9


def test_scarce_classes_come_to_each_split_and_many_groups_to_their_shares() -> None:
    groups = [Counter(a=8, b=1), Counter(a=9, b=1), Counter(a=7, b=1)]
    assert {*place_groups(groups, targets_of(groups), ("b",))} == {*SPLITS}
    patients = [Counter(a=1 + n % 4, b=2 + n % 3) for n in range(60)]
    targets = targets_of(patients)
    places = place_groups(patients, targets, ())
    for split in SPLITS:
        have = sum((g for g, p in zip(patients, places, strict=True) if p == split), Counter())
        assert all(abs(have[label] - wanted) <= 4 for label, wanted in targets[split].items())
