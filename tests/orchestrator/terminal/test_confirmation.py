import pytest
from rich.console import Console

from analysis.comparisons.confirmation import Confirmation, compare_finalists, confirmation_text
from orchestrator.terminal.confirmation import confirmation_table
from trainables.config import Objective

CLOSE = {0: 0.80, 1: 0.82, 2: 0.81}
FAR = {0: 0.50, 1: 0.52, 2: 0.51}


def found(*values: dict[int, float], planned: int | None = None, failed: int = 0) -> Confirmation:
    named = {f"{number:04}": each for number, each in enumerate(values)}
    count = sum(map(len, values))
    finalists = compare_finalists(named, Objective())
    return Confirmation(Objective(), finalists, count + failed if planned is None else planned, count, failed)


@pytest.mark.parametrize(
    ("confirmation", "text"),
    [
        (found(CLOSE, FAR), "0000 is the winner: over 3 seeds it is better than the other (Welch's t, 5 %)"),
        (found(CLOSE, FAR, FAR), "0000 is the winner: over 3 seeds it is better than each of the 2 others"),
        (
            found(CLOSE, {0: 0.79, 1: 0.82, 2: 0.80}, FAR),
            "no winner: 0000 and 0001 cannot be told apart over 3 seeds (5 % for all 3 pairs together; intervals and p "
            "are of one pair); 0002 is worse; the best mean is that of",
        ),
        (found(CLOSE), "0000 is the only finalist: val/macro_f1 0.8100 over 3 seeds"),
        (found({0: 0.9}, {0: 0.8}), "0000 leads, but one seed cannot tell finalists apart; give --seeds 5"),
        (found(CLOSE, FAR, planned=10), "6 of 10 trainings are done; 0000 leads"),
        (found(CLOSE, FAR, failed=2), "(Welch's t, 5 %); 2 of 8 trainings failed"),
        (found(planned=6), "no finalist has a value yet"),
        (found(planned=2, failed=2), "no training of a finalist has completed"),
    ],
)
def test_one_sentence_says_whether_there_is_a_winner(confirmation: Confirmation, text: str) -> None:
    assert text in confirmation_text(confirmation)


def test_a_row_per_finalist_the_best_first() -> None:
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(confirmation_table(found(FAR, CLOSE)))
    head, first, second = captured.get().splitlines()
    assert head.split() == ["finalist", "seeds", "val/macro_f1", "95", "%", "behind", "95", "%", "p"]
    assert first.split()[:3] == ["0001", "3", "0.8100"]
    assert second.split()[:3] == ["0000", "3", "0.5100"]
    assert second.split()[-1] == "<0.001"
