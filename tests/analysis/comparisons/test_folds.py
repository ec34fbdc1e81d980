from analysis.comparisons.folds import fold_deviation, folds_text, kind_of_images
from trainables.config import TrialConfig
from trainables.result import EpochReport, TrialResult


def trial(folds: int | None) -> TrialResult:
    given = {"data": {"root": "d", "folds": folds}, "architecture": "a", "strategy": "head", "epochs": 1, "lr": 1}
    values = None if folds is None else {"val/macro_f1": (0.25, 0.75)}
    report = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5}, seconds=1, checkpoint="best", folds=values)
    return TrialResult(trial_id="1", config=TrialConfig.model_validate(given), parameters={}, reports=(report,))


def test_the_number_of_folds_is_named() -> None:
    assert folds_text([trial(None)]) == ""
    assert folds_text([trial(2), trial(2), trial(None)]) == "mean of 2 folds"
    assert folds_text([trial(10), trial(2)]) == "mean of 2 or 10 folds"


def test_the_deviation_is_that_of_a_sample() -> None:
    assert fold_deviation(trial(None), "val/macro_f1", 1) is None
    assert fold_deviation(trial(2), "val/macro_f1", 1) == 0.125**0.5
    assert [fold_deviation(trial(2), *of) for of in (("val/macro_f1", 2), ("val/loss", 1))] == [None, None]


def test_images_of_folds_are_out_of_fold() -> None:
    assert [kind_of_images(trial(folds)) for folds in (None, 2)] == ["validation", "out-of-fold"]
