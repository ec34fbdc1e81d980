import pytest

from orchestrator.tracking.weights_biases.leaderboard import split_address
from search_spaces.errors import InvalidInput


def test_an_address_has_three_parts() -> None:
    assert split_address("wandb:a/b/c", "GROUP") == ("a", "b", "c")
    for address in (
        "wandb:team/my project/groups/g/workspace",
        "wandb:team/my project/runs/g",
        "wandb:team/my project/g/",
    ):
        assert split_address(address, "GROUP") == ("team", "my project", "g"), "as the address of its page has it"


@pytest.mark.parametrize(
    "address", ["", "a/b/c", *(f"wandb:{text}" for text in ("a/b", "a//c", "/b/c", "a/b/", "a/b/c/d"))]
)
def test_another_text_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="must be wandb:ENTITY/PROJECT/RUN_ID"):
        split_address(address, "RUN_ID")
