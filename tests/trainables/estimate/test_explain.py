from collections.abc import Callable

import pytest

from trainables.config import TrialConfig
from trainables.estimate.explain import explain_plan
from trainables.model.build import build_model
from trainables.model.freeze_plan import freeze_plan
from trainables.model.stages import stage_table

GRADUAL = {"architecture": "resnet10t", "strategy": "gradual", "last_stage_epoch": 1, "full_after": 2, "epochs": 5}


def test_every_epoch_tells_what_trains_and_how_fast(trial_config: Callable[..., TrialConfig]) -> None:
    config = trial_config(**GRADUAL, lr=0.1, backbone_lr_factor=0.5, stage_lr_decay=0.1, scheduler="constant")
    model = build_model(config, 4)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    table = stage_table(model)
    phases = explain_plan(config, model, steps=10)
    assert [phase.epoch for phase in phases] == [1, 2, 3, 4, 5]
    assert [phase.stages for phase in phases] == [0, 1, 1, "all", "all"]
    for phase in phases:
        names = table.trainable(freeze_plan(config).stages_at(phase.epoch - 1))
        assert phase.parameters == sum(sizes[name] for name in names)
        assert phase.share == pytest.approx(phase.parameters / sum(sizes.values()))
    assert phases[-1].share == 1
    assert phases[0].lr == {"head": (0.1, 0.1)}
    assert phases[1].lr["stage_1"] == pytest.approx((0.05, 0.05))
    assert phases[3].lr["stage_3"] == pytest.approx((0.0005, 0.0005))
    assert phases[0].to_json()["lr"] == {"head": (0.1, 0.1)}


def test_rates_are_those_that_the_trial_reports(trial_config: Callable[..., TrialConfig], trial_folders) -> None:
    from trainables.data.arrays import load_arrays
    from trainables.data.balance import batches
    from trainables.loop.train import train

    config = trial_config(**GRADUAL, warmup_epochs=1, thaw_warmup_epochs=1, stage_lr_decay=0.5, scheduler="cosine")
    folders = trial_folders("trial")
    arrays = load_arrays(config.data, folders.cache)
    steps = len(batches(arrays.dataset.labels("train"), config.batch_size))
    phases = explain_plan(config, build_model(config, len(arrays.classes)), steps)
    for phase, report in zip(phases, train(config, folders), strict=True):
        told = {name.removeprefix("lr/"): rate for name, rate in report.metrics.items() if name.startswith("lr/")}
        backbone = told.pop("backbone", None)
        shown = {part: last for part, (_, last) in phase.lr.items()}
        assert backbone == pytest.approx(shown.get("stage_1"))
        assert {part: shown[part] for part in told} == pytest.approx(told)
        assert set(shown) - set(told) <= {"stage_1"}
