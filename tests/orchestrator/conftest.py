"""Sweep files and trials, as the tests of the orchestrator need them. Nothing here trains."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest

from analysis.ledger import Ledger, RunRecord
from analysis.run_folder import RunFolder
from orchestrator.spec.loading import load
from orchestrator.spec.sweep_spec import SweepSpec
from search_spaces.documents import dump_yaml
from trainables.config import Objective, TrialConfig
from trainables.result import EpochReport, Failure, TrialResult
from trainables.status import Status

# The sweep file of DESIGN.md, word for word.
DESIGN = """
name: trash
data: {root: data/trashnet6, image_size: 96, resize_mode: squash, weights_dir: weights}   # no hub
objective: {metric: val/macro_f1, mode: max}
trial: {epochs: 6, weights: pretrained, batch_size: 32, optimizer: adamw, augmentation: none, seed: 42}
space:
  architecture: {choice: [mobilenetv2_100, tf_mobilenetv3_small_100]}
  strategy: {choice: [head, partial, progressive, gradual, full]}
  trainable_stages: {int: [1, 3], when: {strategy: partial}}
  unfreeze_epoch: {int: [1, 4], when: {strategy: progressive}}
  last_stage_epoch: {int: [1, 2], when: {strategy: gradual}}
  full_after: {int: [1, 2], when: {strategy: gradual}}            # epochs after last_stage_epoch
  lr:
    - {log: [1e-3, 3e-2], when: {strategy: head}}
    - {log: [1e-5, 1e-3], when: {strategy: [partial, progressive, gradual, full]}}
  balance: {choice: [none, sampler, loss]}
  scheduler: {choice: [cosine, step, plateau]}
search:
  sampler: tpe            # tpe, gp, random, qmc, grid, nsga2
  trials: 24
  seed: 0
  points: [{architecture: mobilenetv2_100, strategy: head, lr: 3e-3, balance: none, scheduler: cosine}]
stopping: {asha: {grace: 2, reduction: 3}}          # or: stopping: none
resources: {workers: 1, cpus_per_worker: 1, gpus_per_worker: 0, concurrent: auto, epoch_timeout: none}
storage: {root: runs, cache_dir: auto}
tracking: {wandb: {mode: auto, project: thaw}}
"""

# The least that makes a sweep: one strategy, one range.
SMALL: Mapping[str, Any] = {
    "data": {"root": "photos"},
    "trial": {"epochs": 6, "architecture": "resnet18", "weights": "none"},
    "space": {
        "strategy": {"choice": ["head", "progressive"]},
        "unfreeze_epoch": {"int": [1, 3], "when": {"strategy": "progressive"}},
        "lr": {"log": [1e-4, 1e-2]},
    },
}


@pytest.fixture
def design(tmp_path: Path) -> Path:
    """The sweep file of DESIGN.md."""
    path = tmp_path / "sweep.yaml"
    path.write_text(DESIGN)
    return path


@pytest.fixture
def design_spec(design: Path) -> SweepSpec:
    return load(design)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small sweep file with some sections changed, or left out where None."""

    def write(file: str = "small.yaml", **sections: Any) -> Path:
        path = tmp_path / file
        values = {**SMALL, **sections}
        path.write_text(dump_yaml({key: value for key, value in values.items() if value is not None}))
        return path

    return write


@pytest.fixture
def small_spec(small: Callable[..., Path]) -> Callable[..., SweepSpec]:
    """Loads the small sweep with some sections changed."""
    return lambda **sections: load(small(**sections))


@pytest.fixture
def trial() -> Callable[..., TrialResult]:
    """Makes a trial that has reported `scores`, under its objective's metric."""
    return make_trial


def make_trial(
    trial_id: str,
    scores: tuple[float, ...] | list[float] = (),
    status: Status = Status.RUNNING,
    parameters: Mapping[str, Any] | None = None,
    failure: str | None = None,
    **config: Any,
) -> TrialResult:
    values = {"data": {"root": "/photos"}, "architecture": "resnet18", "strategy": "head", "epochs": 27, "lr": 0.01}
    settings = TrialConfig.model_validate({**values, **config})
    reports = tuple(
        EpochReport(
            epoch=epoch,
            metrics={settings.objective.metric: score},
            seconds=1.5,
            checkpoint="best",
            ended_by="budget" if status is Status.COMPLETED and epoch == len(scores) else None,
        )
        for epoch, score in enumerate(scores, start=1)
    )
    return TrialResult(
        trial_id=trial_id,
        config=settings,
        parameters=dict(parameters or {}),
        status=status,
        reports=reports,
        failure=None if failure is None else Failure(message=failure),
    )


@pytest.fixture
def empty_run(tmp_path: Path) -> RunFolder:
    """A run on disk without trials."""
    run = RunFolder(tmp_path)
    Ledger(run).write_run(
        RunRecord(
            name="small",
            objective=Objective(),
            space={},
            distributions={},
            created=datetime.now(UTC),
            classes=("a", "b"),
            fingerprint="photos",
            sample_counts={},
            trials_planned=2,
            versions={},
        )
    )
    return run


@pytest.fixture(autouse=True)
def _optuna_is_quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
