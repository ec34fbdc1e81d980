from pathlib import Path

import pytest
from run_records import run_record, trial

from analysis.comparisons.comparison import compare_trials
from analysis.leaderboard import Leaderboard
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput
from trainables.status import Status


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.trials.mkdir(parents=True)
    ledger = Ledger(folder)
    ledger.write_run(run_record())
    other = trial(1, 1, Status.PRUNED)
    partial = other.config.model_copy(update={"strategy": "partial", "trainable_stages": 2})
    for each in (trial(0, 3, Status.COMPLETED), other.model_copy(update={"config": partial})):
        ledger.write_trial(each)
    return folder


def test_what_differs_is_listed_and_the_curves_stand_side_by_side(run: RunFolder) -> None:
    found = compare_trials(run, Leaderboard.from_run(run), "0000", "0001")
    assert found.settings == {"strategy": ("head", "partial"), "trainable_stages": (None, 2)}
    assert found.curves == [(1, 0.1, 0.1), (2, 0.2, None), (3, 0.3, None)]
    assert found.paired is None
    shown = found.to_json()
    assert (shown["trial_ids"], shown["objectives"], shown["difference"]) == (["0000", "0001"], [0.3, 0.1], None)
    assert shown["settings"]["trainable_stages"] == [None, 2]
    assert shown["curves"][1] == {"epoch": 2, "objectives": [0.2, None]}


def test_a_run_without_trials_has_none_to_compare(run: RunFolder) -> None:
    for path in run.trials.iterdir():
        path.unlink()
    with pytest.raises(InvalidInput, match="must have the trial '0000', got a run without trials; wait for it"):
        compare_trials(run, Leaderboard.from_run(run), "0000", "0001")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0000", "0000"), "trials: must be two, got '0000' twice"),
        (("0000", "0002"), "a trial must be one of the run's, got '0002'; did you mean 000"),
        (("7", "0000"), "a trial must be one of the run's, got '7'; "),
    ],
)
def test_other_names_are_refused(run: RunFolder, names: tuple[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        compare_trials(run, Leaderboard.from_run(run), *names)
