from pathlib import Path

import pytest
import torch

from search_spaces.errors import InvalidInput
from trainables.model.weight_values import check_values

OWN = {
    "conv.weight": torch.zeros(2),
    "bn.running_var": torch.ones(2),
    "bn.num_batches_tracked": torch.tensor(0),
    "mask": torch.tensor([0.0, -torch.inf]),
}
PATH = Path("w.pth")


@pytest.mark.parametrize(
    ("key", "tensor", "said"),
    [
        ("conv.weight", torch.tensor([1.0, torch.nan]), "holds NaN"),
        ("conv.weight", torch.tensor([1.0, -torch.inf]), "holds infinite values"),
        ("conv.weight", torch.tensor([1.0, 1e300], dtype=torch.float64), "holds infinite values"),
        ("conv.weight", torch.tensor([1.0, torch.nan], dtype=torch.bfloat16), "holds NaN"),
        ("conv.weight", torch.tensor([1, 2]), "is of type int64"),
        ("conv.weight", torch.tensor([True, False]), "is of type bool"),
        ("conv.weight", torch.tensor([1j, 1]), "is complex"),
        ("bn.num_batches_tracked", torch.tensor(1j), "is complex"),
        ("bn.running_var", torch.tensor([1.0, -0.1]), "is a variance below zero"),
        ("bn.running_var", torch.tensor([1.0, torch.nan]), "holds NaN"),
    ],
)
def test_values_with_which_nothing_can_be_trained_are_refused_with_their_key(
    key: str, tensor: torch.Tensor, said: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"must be finite real numbers, got w.pth: '{key}' {said}; give"):
        check_values({key: tensor}, OWN, PATH)


def test_other_types_and_the_models_own_infinities_are_taken() -> None:
    check_values({**OWN, "conv.weight": torch.ones(2, dtype=torch.float16)}, OWN, PATH)
    check_values({"bn.num_batches_tracked": torch.tensor(7.5), "mask": torch.tensor([-torch.inf, 0])}, OWN, PATH)
    check_values({"conv.weight": torch.ones(2, dtype=torch.float8_e4m3fn)}, OWN, PATH)
