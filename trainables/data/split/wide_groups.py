"""Places of groups that hold images of several classes, e.g. all photos of a patient."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

# Weights of the squared misses are whole numbers, so that the result is the same on every machine.
_ONE = 2**80
_LACKING = 2**120


def place_groups(
    groups: Sequence[Counter[str]],
    targets: Mapping[str, Mapping[str, int]],
    scarce: Collection[str],
) -> list[str]:
    """Return the split of each group, given by its images per class, so that each class is shared out as in `targets`.

    `targets` are the images of each class by split; the groups need not hold all of them, and take the same shares of
    those that they hold. Groups are placed one after another where the squared relative miss, summed over classes, is
    least, and then moved while that makes it less (as iterative stratification, Sechidis et al. 2011, with counts in
    place of labels). A `scarce` class in a split that it lacks comes before any miss.
    """
    splits = list(targets)
    wide = sum(groups, Counter[str]())
    whole = {label: sum(targets[split][label] for split in splits) for label in wide}
    have = {split: Counter[str]() for split in splits}

    def change(group: Counter[str], split: str, sign: int) -> int:
        """Return by how much the miss grows when a group comes to a split (1), or leaves it (-1)."""
        total = 0
        for label, count in group.items():
            held, size = have[split][label], whole[label]
            miss = held * size - targets[split][label] * wide[label]
            total += count * (count * size + sign * 2 * miss) * (_ONE // size**3 + 1)
            if label in scarce and held == (0 if sign > 0 else count):
                total -= sign * _LACKING
        return total

    places: list[str] = []
    for group in groups:
        places.append(min(splits, key=lambda split: change(group, split, 1)))
        have[places[-1]].update(group)
    is_better = True
    while is_better:
        is_better = False
        for index, group in enumerate(groups):
            old = places[index]
            costs = {split: change(group, split, 1) for split in splits if split != old}
            new = min(costs, key=costs.__getitem__)
            if costs[new] + change(group, old, -1) < 0:
                have[old].subtract(group)
                have[new].update(group)
                places[index], is_better = new, True
    return places
