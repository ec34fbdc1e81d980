import pytest

from orchestrator.tracking.weights_biases.leaderboard import split_address
from search_spaces.errors import InvalidInput


def test_an_address_has_three_parts() -> None:
    assert split_address("wandb:a/b/c", "GROUP") == ("a", "b", "c")
    assert split_address("wandb:team/my project/a/b", "GROUP") == ("team", "my project", "a/b"), (
        "a group may hold a slash"
    )


@pytest.mark.parametrize("address", ["", "a/b/c", "wandb:a/b", "wandb:a//c", "wandb:/b/c", "wandb:a/b/"])
def test_another_text_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="must be wandb:ENTITY/PROJECT/RUN_ID"):
        split_address(address, "RUN_ID")
