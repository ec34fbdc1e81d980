import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.search import warm_start
from orchestrator.search.study import build_study
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.errors import InvalidInput
from trainables.config import Objective
from trainables.result import EpochReport, TrialResult
from trainables.status import Status
from trainables.task_catalog import METRICS_VERSION

HEAD = {"strategy": "head", "lr": 0.002}
THAWED = {"strategy": "progressive", "unfreeze_epoch": 2, "lr": 0.003}


@pytest.fixture
def other(small_spec: Callable[..., SweepSpec], tmp_path: Path) -> Callable[..., Path]:
    """Writes another run with a trial for each point, all of one status."""

    def write(
        *points: dict[str, Any],
        name: str = "other",
        status: Status = Status.COMPLETED,
        objective: Objective | None = None,
        fingerprint: str = "photos",
        metrics_version: int = METRICS_VERSION,
        **sections: Any,
    ) -> Path:
        spec = small_spec(file=f"{name}.yaml", **sections)
        ledger = Ledger(RunFolder(tmp_path / name))
        ledger.write_run(
            RunRecord(
                name=name,
                objective=objective or spec.objective,
                space={},
                distributions={},
                created=datetime.now(UTC),
                classes=("a", "b"),
                fingerprint=fingerprint,
                sample_counts={},
                trials_planned=len(points),
                metrics_version=metrics_version,
                versions={},
            )
        )
        for number, point in enumerate(points):
            report = EpochReport(epoch=1, metrics={"val/macro_f1": 0.5}, seconds=1, checkpoint="best")
            ledger.write_trial(
                TrialResult(
                    trial_id=f"{number:04d}",
                    config=spec.trial_config(point),
                    parameters=point,
                    status=status,
                    reports=(report,),
                )
            )
        return tmp_path / name

    return write


def told(spec: SweepSpec, folder: Path) -> list[dict[str, Any]]:
    """Trials of a study after a warm start of a run in `folder`."""
    run = RunFolder(folder / "new")
    run.root.mkdir()
    warm_start.store(run, warm_start.collect_trials(spec.problem, "photos".__eq__))
    study = build_study(spec.name, spec.problem, [], folder / "study.log", warm_start.warm_trials(spec.problem, run))
    return [{**trial.params, "from": trial.user_attrs["from"], "value": trial.value} for trial in study.trials]


def test_finished_trials_of_all_named_runs_are_told(
    small_spec: Callable[..., SweepSpec], other: Callable[..., Path], tmp_path: Path
) -> None:
    # With an image of every class in val, an older definition of macro-F1 gives the same values.
    first, second = other(HEAD, name="first", metrics_version=1), other(THAWED, name="second")
    other(HEAD, name="unfinished", status=Status.INTERRUPTED)
    spec = small_spec(search={"warm_start": [str(first), str(second), "unfinished"]})
    assert told(spec, tmp_path) == [
        {"strategy": "head", "lr": 0.002, "from": "first/0000", "value": 0.5},
        {
            "strategy": "progressive",
            "unfreeze_epoch (strategy: progressive)": 2,
            "lr": 0.003,
            "from": "second/0000",
            "value": 0.5,
        },
    ]


@pytest.mark.parametrize(
    ("sections", "left_in"),
    [
        ({}, 1),
        ({"trial": {"epochs": 6, "architecture": "resnet18", "weights": "none", "seed": 7}}, 1),
        ({"trial": {"epochs": 6, "architecture": "resnet18", "weights": "none", "batch_size": 32}}, 1),
        ({"data": {"root": "moved", "weights_dir": "elsewhere"}}, 1),
        ({"trial": {"epochs": 9, "architecture": "resnet18", "weights": "none"}}, 0),
        ({"trial": {"epochs": 6, "architecture": "resnet18", "weights": "none", "batch_size": 16}}, 0),
        ({"data": {"root": "photos", "image_size": 96}}, 0),
    ],
)
def test_only_what_the_sweep_could_have_run_itself_is_told_and_the_rest_is_counted(
    sections: dict[str, Any],
    left_in: int,
    small_spec: Callable[..., SweepSpec],
    other: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A seed, a default written out and the place of the files change no result that could be compared."""
    run = other(HEAD, {"strategy": "head", "lr": 0.01}, **sections)
    narrow = {"strategy": {"choice": ["head"]}, "lr": {"log": [1e-4, 5e-3]}}
    with caplog.at_level(logging.INFO, logger="orchestrator"):
        assert len(told(small_spec(space=narrow, search={"warm_start": [str(run)]}), tmp_path)) == left_in
    assert f"warm start from {run}: {left_in} trials, {2 - left_in} left out" in caplog.text


def test_what_varies_here_and_was_fixed_there_is_told(
    small_spec: Callable[..., SweepSpec], other: Callable[..., Path], tmp_path: Path
) -> None:
    run = other(HEAD)
    space = {
        "architecture": {"choice": ["resnet18", "resnet34"]},
        "strategy": {"choice": ["head"]},
        "lr": {"log": [1e-4, 1e-2]},
    }
    spec = small_spec(space=space, trial={"epochs": 6, "weights": "none"}, search={"warm_start": [str(run)]})
    assert [trial["architecture"] for trial in told(spec, tmp_path)] == ["resnet18"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": Objective(metric="val/loss")}, "must have the objective val/macro_f1, got val/loss"),
        ({"fingerprint": "others"}, "must be on the images of this sweep"),
        (
            {"metrics_version": 1},
            "must define val/macro_f1 as this run does, got version 1 of the metrics",
        ),
    ],
)
def test_values_that_cannot_be_compared_are_refused(
    change: dict[str, Any], message: str, small_spec: Callable[..., SweepSpec], other: Callable[..., Path]
) -> None:
    spec = small_spec(search={"warm_start": [str(other(HEAD, **change))]})
    with pytest.raises(InvalidInput, match=r"search\.warm_start: ") as caught:
        warm_start.collect_trials(spec.problem, "photos".__eq__, lacks_classes=True)
    assert message in str(caught.value)


def test_a_run_that_is_not_there_is_refused(small_spec: Callable[..., SweepSpec]) -> None:
    with pytest.raises(InvalidInput, match=r"search.warm_start: .*nowhere: a run must be an existing folder"):
        warm_start.collect_trials(small_spec(search={"warm_start": ["nowhere"]}).problem, "photos".__eq__)
