import json
from dataclasses import replace

import pytest
from report_runs import predicted, trial

from analysis.ledger import Ledger
from analysis.report.answer import answer
from analysis.report.panel import RunData
from analysis.run_folder import RunFolder, probe_id
from trainables.config import Objective
from trainables.status import Status


def test_the_winner_leads_with_its_interval(run: RunFolder) -> None:
    found = answer(RunData.of(run))
    assert found.lead.startswith("vgg16 with strategy progressive leads: val/macro_f1 0.794 (95 % interval on 3 valid")
    settings = "architecture=vgg16, strategy=progressive, lr=0.0001, balance=loss, unfreeze_epoch=2"
    assert found.settings.startswith(f"Trial 0023: {settings}. The best of 24 was chosen on these images")
    assert found.reasons == (
        "It is followed by the runner-up, trial 0022 (0.789); whether the difference is real is not known without "
        "readable predictions of both.",
        "1 of 26 trials have failed, most often with: out of memory",
    )
    assert found.advice == "The best trial came late: more may find a better one."
    assert found.command == f"thaw extend {run.root} --trials 10"


def test_a_trial_that_was_chosen_by_hand_is_not_said_to_lead(run: RunFolder) -> None:
    run.winner.mkdir()
    record = {"trial_id": "0022", "is_chosen": True, "test": {}}
    (run.winner / "retrain.json").write_text(json.dumps(record))
    found = answer(RunData.of(run))
    assert "was chosen by hand, rank 2 of 24 in the search: val/macro_f1 0.789" in found.lead
    assert found.settings.startswith("Trial 0022:")
    assert "The best of" not in found.settings
    assert found.reasons[0].startswith("It stands behind the first of the leaderboard, trial 0023 (0.794)")
    unranked = next(entry for entry in RunData.of(run).board.entries if entry.rank is None and entry.objective)
    (run.winner / "retrain.json").write_text(json.dumps({**record, "trial_id": unranked.trial.trial_id}))
    assert "was chosen by hand, without a rank in the search: val/macro_f1" in answer(RunData.of(run)).lead


def test_an_export_before_the_retraining_is_not_offered(run: RunFolder) -> None:
    run.export.mkdir()
    (run.export / "model.onnx").touch()
    told = {"trial_id": "0023", "origin": "trial 0023, as trained in the sweep", "retraining": None}
    (run.export / "export.json").write_text(json.dumps(told))
    run.winner.mkdir()
    (run.winner / "retrain.json").write_text(json.dumps({"trial_id": "0023", "test": {"metrics": {}}}))
    found = answer(RunData.of(run))
    assert found.advice == "Export the winner, which was trained again since its export."
    assert found.command == f"thaw export {run.root}"


def test_equal_predictions_cannot_be_told_apart(run: RunFolder) -> None:
    predicted(run, "0022")
    found = answer(RunData.of(run))
    reason, _ = found.reasons
    assert reason.startswith("These images cannot tell it apart from the runner-up, trial 0022 (0.789): +0.000, 95 %")


def test_the_probe_is_named_where_there_is_one(run: RunFolder) -> None:
    Ledger(run).update_run(probe={"resnet18": 0.7})
    predicted(run, probe_id("resnet18"))
    found = answer(RunData.of(run))
    assert found.reasons[1].startswith("It does not beat the best linear probe, that of resnet18 (0.700): +0.000, ")
    assert found.reasons[1].endswith("; fine-tuning has not paid.")


@pytest.mark.parametrize(
    ("status", "advice", "command"),
    [
        (Status.INTERRUPTED, "1 of 9 trials have not ended.", "thaw resume"),
        (Status.FAILED, "The best trial did not come late: train", "thaw retrain"),
    ],
)
def test_the_next_step_depends_on_what_is_left(empty: RunFolder, status: Status, advice: str, command: str) -> None:
    Ledger(empty).write_trial(trial(0).model_copy(update={"trial_id": "0000"}))
    for number in range(1, 8):
        Ledger(empty).write_trial(trial(number, Status.PRUNED, epochs=1))
    Ledger(empty).write_trial(trial(8, status, epochs=0))
    found = answer(RunData.of(empty))
    assert found.advice.startswith(advice)
    assert found.command.startswith(command)


def test_a_winner_that_was_trained_again_is_exported_next(run: RunFolder) -> None:
    run.winner.mkdir()
    test = {"metrics": {"macro_f1": 0.75}, "intervals": {"macro_f1": [0.5, 0.875]}}
    (run.winner / "retrain.json").write_text(json.dumps({"trial_id": "0023", "test": test}))
    found = answer(RunData.of(run))
    expected = "Trained again, it reaches macro_f1 0.750 (95 % interval 0.500 to 0.875) on the test split."
    assert expected in found.reasons
    assert (found.advice, found.command) == ("Export the winner, to use it without PyTorch.", f"thaw export {run.root}")
    (run.winner / "retrain.json").write_text(json.dumps({"trial_id": "0023", "test": None}))
    found = answer(RunData.of(run))
    assert (found.command, expected in found.reasons) == (f"thaw export {run.root}", False)


def test_while_it_is_driven_the_search_goes_on(empty: RunFolder) -> None:
    Ledger(empty).write_trial(trial(0))
    Ledger(empty).write_trial(trial(1, Status.RUNNING, epochs=1))
    found = answer(replace(RunData.of(empty), is_driven=True))
    assert (found.advice, found.command) == (
        "The search goes on: 1 of 3 trials have ended.",
        f"thaw status {empty.root}",
    )


def test_of_few_trials_nothing_is_said_about_the_search(empty: RunFolder) -> None:
    Ledger(empty).update_run(trials_planned=1)
    Ledger(empty).write_trial(trial(0))
    found = answer(RunData.of(empty))
    assert found.advice == "Train the winner again and measure it on the test split."


def test_trials_that_never_began_are_left_to_do(empty: RunFolder) -> None:
    Ledger(empty).update_run(trials_planned=12)
    Ledger(empty).write_trial(trial(0))
    found = answer(RunData.of(empty))
    assert (found.advice, found.command) == ("11 of 12 trials have not ended.", f"thaw resume {empty.root}")


def test_a_better_trial_that_has_not_completed_is_named(empty: RunFolder) -> None:
    Ledger(empty).write_trial(trial(0))
    Ledger(empty).write_trial(trial(9, Status.INTERRUPTED, epochs=4))
    found = answer(RunData.of(empty))
    assert found.reasons[0] == (
        "Trial 0009 (INTERRUPTED) has reached 0.717 at epoch 4, more than the leader, and is not ranked: it has not "
        "completed."
    )


def test_a_run_in_which_all_has_failed_says_why(empty: RunFolder) -> None:
    Ledger(empty).update_run(trials_planned=1)
    Ledger(empty).write_trial(trial(0, Status.FAILED, epochs=0))
    found = answer(RunData.of(empty))
    assert (found.lead, found.settings) == ("No trial has completed.", "")
    assert found.reasons == ("1 of 1 trials have failed, most often with: out of memory",)
    assert found.command == f"thaw logs {empty.root} 0000"


def test_a_metric_without_an_interval_is_the_reason(empty: RunFolder) -> None:
    Ledger(empty).update_run(objective=Objective(metric="val/loss", mode="min"))
    for number in range(2):
        made = trial(number)
        reports = tuple(each.model_copy(update={"metrics": {"val/loss": 1 / each.epoch}}) for each in made.reports)
        Ledger(empty).write_trial(made.model_copy(update={"reports": reports}))
    (reason,) = answer(RunData.of(empty)).reasons
    assert reason.endswith("whether the difference is real is not known for val/loss, which has no interval.")
