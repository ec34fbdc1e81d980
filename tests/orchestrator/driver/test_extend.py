"""Changes of a run on disk by an extension. Nothing trains: the ledger is written by hand."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from orchestrator.driver.driver_claim import claimed
from orchestrator.driver.extend import Extended, plan_extension
from orchestrator.driver.preflight import check_inputs
from orchestrator.driver.sweep import create_run
from orchestrator.search.study import build_study
from orchestrator.spec.loading import load
from search_spaces.errors import InvalidInput
from trainables.result import EpochReport, TrialResult
from trainables.status import Status

SPACE = {
    "architecture": {"choice": ["test_efficientnet", "test_resnet"]},
    "strategy": {"choice": ["head", "full"]},
    "lr": [
        {"log": [1e-3, 1e-2], "when": {"strategy": "head"}},
        {"log": [1e-4, 1e-3], "when": {"strategy": "full"}},
    ],
}
POINTS = [
    {"architecture": "test_efficientnet", "strategy": "head", "lr": 2e-3},
    {"architecture": "test_resnet", "strategy": "full", "lr": 5e-4},
    {"architecture": "test_resnet", "strategy": "head", "lr": 5e-3},
]
DONE = (Status.COMPLETED, Status.COMPLETED, Status.PRUNED)

Write = Callable[..., Path]
Make = Callable[..., Path]


@pytest.fixture
def run(write_sweep: Write, tmp_path: Path) -> Make:
    """A run of three trials, the second best, in the folder that is returned."""

    def make(statuses: Sequence[Status] = DONE, **sections: Any) -> Path:
        trial = {"epochs": 2, "batch_size": 16}
        search = {"trials": len(statuses), "sampler": "random", **sections.pop("search", {})}
        spec = load(write_sweep(tmp_path, trial=trial, space=SPACE, search=search, **sections))
        folder = RunFolder(spec.run_root)
        create_run(folder, spec, check_inputs(spec))
        for number, (point, status) in enumerate(zip(POINTS, statuses, strict=True)):
            report = EpochReport(
                epoch=1, metrics={"val/macro_f1": 0.5 + 0.1 * (number == 1)}, seconds=1, checkpoint="best"
            )
            Ledger(folder).write_trial(
                TrialResult(
                    trial_id=f"{number:04d}",
                    config=spec.trial_config(point),
                    parameters=point,
                    status=status,
                    reports=(report,),
                )
            )
        return spec.run_root

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def extend(folder: Path, trials: int = 0, changes: Sequence[str] = ()) -> Extended:
    """Plan an extension, and make the run what was planned."""
    extended = plan_extension(folder, trials, changes)
    extended.write(extended.run)
    return extended


def told(extended: Extended) -> list[dict[str, Any]]:
    """The parameters that the study knows after the extension."""
    study = build_study(extended.spec.name, extended.spec.problem, extended.trials, extended.run.root / "study.log")
    return [trial.params for trial in study.trials]


def test_more_trials_and_a_new_architecture_which_is_tried_first(run: Make) -> None:
    folder = run()
    before = files(folder)
    extended = extend(folder, 20, ["space.architecture+=mobilenetv3_small_050"])
    spec = load(folder / "sweep.yaml")
    assert spec == extended.spec
    assert spec.search.trials == 23
    assert spec.space["architecture"]["choice"] == ["test_efficientnet", "test_resnet", "mobilenetv3_small_050"]
    # The best so far, with the new architecture; what was tried already is known and not tried again.
    assert spec.first_points()[-1] == {**POINTS[1], "architecture": "mobilenetv3_small_050"}
    record = Ledger(RunFolder(folder)).read_run()
    assert record == extended.record
    assert record.trials_planned == 23
    assert record.space == spec.space
    assert "mobilenetv3_small_050" in record.distributions["architecture"]
    (extension,) = record.extensions
    assert extension.changes == ("space.architecture.choice: + mobilenetv3_small_050", "search.trials: 3 -> 23")
    assert extension.first_trial == 3
    assert len(told(extended)) == 3
    after = files(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"run.json", "sweep.yaml", "study.log"}


def test_a_wider_range_keeps_every_result(run: Make) -> None:
    extended = extend(run(), 2, ["space.lr.1.log=[1e-5, 1e-2]"])
    assert extended.outside == ()
    assert [trial.get("lr (strategy: full)") for trial in told(extended)] == [None, 5e-4, None]


def test_a_narrower_range_leaves_results_out_of_the_study_alone(run: Make) -> None:
    folder = run()
    extended = extend(folder, 2, ["space.architecture.choice=[test_resnet]"])
    assert extended.outside == ("0000",)
    assert [trial["architecture"] for trial in told(extended)] == ["test_resnet"] * 2
    assert [trial.trial_id for trial in Ledger(RunFolder(folder)).trials()] == ["0000", "0001", "0002"]
    assert extended.record.extensions[0].changes[0] == "space.architecture.choice: - test_efficientnet"


def test_points_outside_of_the_space_are_dropped_and_others_stay_first(run: Make) -> None:
    waiting = {"architecture": "test_resnet", "strategy": "head", "lr": 9e-3}
    folder = run(search={"points": [*POINTS, waiting], "trials": 4})
    spec = extend(folder, 2, ["space.architecture.choice=[test_resnet]"]).spec
    assert spec.search.points == [*POINTS[1:], waiting]


def test_a_fixed_setting_can_become_a_dimension(run: Make) -> None:
    extended = extend(run(), 4, ["space.batch_size.choice=[16, 32]"])
    assert "batch_size" not in extended.spec.trial
    assert [trial["batch_size"] for trial in told(extended)] == [16, 16, 16]
    assert extended.spec.first_points()[-1] == {**POINTS[1], "batch_size": 32}


def test_a_default_can_become_a_dimension(run: Make) -> None:
    extended = extend(run(), 4, ["space.balance.choice=[none, loss]"])
    assert [trial["balance"] for trial in told(extended)] == ["none"] * 3
    assert extended.spec.first_points()[-1] == {**POINTS[1], "balance": "loss"}


def test_the_run_s_own_sweep_file_is_what_is_changed_and_paths_are_the_user_s(
    run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run()
    monkeypatch.chdir(tmp_path)
    assert extend(folder, 1, ["storage.cache_dir=mine"]).spec.storage.cache_dir == tmp_path / "mine"


@pytest.mark.parametrize(
    ("trials", "changes", "message"),
    [
        (1, ["data.image_size=64"], "--set data.image_size: must stay 32, got 64: "),
        (1, ["objective.metric=val/loss"], "--set objective.metric: must stay 'val/macro_f1', got 'val/loss'"),
        (1, ["trial.epochs=9"], "--set trial.epochs: must stay 2, got 9: "),
        (1, ["trial.patience=1"], "--set trial.patience: must stay 'unset', got 1: "),
        (1, ["name=other"], "--set name: must stay 'sweep', got 'other': "),
        (1, ["space.architecture+=test_resnt"], "test_resnt"),
        (1, ["space.architecture+=test_resnet"], "values must differ"),
        (1, ["space.strategy+=partial"], "sweep.yaml: space.lr: required, but not set; add it"),
        (0, [], "an extension must change something, got nothing new"),
        (0, ["space.lr.1.log=[1e-5, 1e-2]"], "must leave something to do, but 3 of 3 trials have ended; give --trials"),
        (1, ["search.warm_start=[nowhere]"], "search.warm_start: "),
        (1, ["budget.target=0.55"], "budget.target: trial 0001 reached 0.6000, 0.55 was asked for; raise it with"),
    ],
)
def test_what_may_not_change_is_refused_and_nothing_is_written(
    run: Make, trials: int, changes: list[str], message: str
) -> None:
    folder = run()
    before = files(folder)
    with pytest.raises(InvalidInput) as caught:
        extend(folder, trials, changes)
    assert message in str(caught.value)
    assert files(folder) == before


def test_an_unfinished_trial_must_stay_in_the_space(run: Make) -> None:
    folder = run((Status.INTERRUPTED, Status.COMPLETED, Status.COMPLETED))
    with pytest.raises(InvalidInput, match="unfinished trials must stay in the space, but 0000 would not"):
        extend(folder, 2, ["space.architecture.choice=[test_resnet]"])
    extended = extend(folder, 0, ["space.architecture+=mobilenetv3_small_050"])
    assert extended.spec.search.trials == 3, "an interrupted run can be extended, and goes on with what it has"


def test_a_run_that_is_driven_is_left_alone(run: Make) -> None:
    folder = run()
    message = f"a run must have one driver, but process {os.getpid()} on .* drives it"
    with claimed(folder, None, None):
        before = {path: text for path, text in files(folder).items() if path != "driver.json"}
        with pytest.raises(InvalidInput, match=message):
            extend(folder, 5)
        assert {path: text for path, text in files(folder).items() if path != "driver.json"} == before


def test_extensions_add_up(run: Make) -> None:
    folder = run()
    extend(folder, 2)
    extended = extend(folder, 3, ["budget.wall_clock=1h"])
    assert extended.spec.search.trials == 8
    assert [extension.changes for extension in extended.record.extensions] == [
        ("search.trials: 3 -> 5",),
        ("search.trials: 5 -> 8", "budget.wall_clock: unset -> 3600s"),
    ]
