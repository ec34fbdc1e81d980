import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from search_spaces.documents import parse_yaml
from search_spaces.errors import InvalidInput
from trainables.config import STRATEGY_PARAMETERS, Objective, TrialConfig
from trainables.data_config import DataConfig
from trainables.task_catalog import metrics_of

METRICS = metrics_of("classification")

BASE: dict[str, Any] = {"data": {"root": "photos"}, "architecture": "resnet18", "epochs": 5, "lr": 1e-3}
PARAMETERS = {
    "head": {},
    "partial": {"trainable_stages": 2},
    "progressive": {"unfreeze_epoch": 2},
    "gradual": {"last_stage_epoch": 1, "full_after": 2},
    "full": {},
}


def config(**settings: Any) -> TrialConfig:
    return TrialConfig.from_mapping({**BASE, "strategy": "full", **settings}, "trial.yaml")


def refused(**settings: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        config(**settings)
    return str(caught.value)


@pytest.mark.parametrize("strategy", STRATEGY_PARAMETERS)
def test_a_strategy_takes_exactly_its_own_parameters(strategy: str) -> None:
    own = PARAMETERS[strategy]
    assert tuple(own) == STRATEGY_PARAMETERS[strategy]  # type: ignore[index]
    assert config(strategy=strategy, **own).strategy == strategy
    for name in own:
        without = {key: value for key, value in own.items() if key != name}
        assert refused(strategy=strategy, **without) == (
            f"trial.yaml: strategy {strategy} needs `{name}`; set it, or choose another strategy"
        )
    for owner, other in PARAMETERS.items():
        for name in other.keys() - own.keys():
            assert refused(strategy=strategy, **own, **{name: 1}) == (
                f"trial.yaml: strategy {strategy} takes no `{name}`, got 1; remove it, or, where the strategy is "
                f"searched, give `{name}` the condition `when: {{strategy: {owner}}}`"
            )


def test_a_trial_must_thaw_before_it_ends() -> None:
    assert refused(strategy="progressive", unfreeze_epoch=5) == (
        "trial.yaml: unfreeze_epoch must be below epochs, got unfreeze_epoch=5, epochs=5; "
        "a trial that never thaws is strategy head"
    )
    assert refused(strategy="gradual", last_stage_epoch=2, full_after=3) == (
        "trial.yaml: last_stage_epoch + full_after must be below epochs, got 2 + 3 = 5, epochs=5; "
        "thaw earlier or train longer"
    )
    assert config(strategy="progressive", unfreeze_epoch=4).unfreeze_epoch == 4
    assert config(strategy="gradual", last_stage_epoch=2, full_after=2).full_after == 2


@pytest.mark.parametrize("name", ["trainable_stages", "unfreeze_epoch", "last_stage_epoch", "full_after", "patience"])
def test_counts_start_at_one(name: str) -> None:
    rule = "must be at least 1, or none, got 0" if name == "patience" else "must be at least 1, got 0"
    assert f"trial.yaml: {name}: {rule}" in refused(**{name: 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "lr: must be above 0, got 0"),
        ({"lr": float("nan")}, "lr: must be at most 100, got nan"),
        ({"lr": float("inf")}, "lr: must be at most 100, got inf"),
        ({"lr": "fast"}, "lr: must be a number, got 'fast'"),
        ({"epochs": 0}, "epochs: must be at least 1, got 0"),
        ({"dropout": 1}, "dropout: must be below 1, got 1"),
        ({"weight_decay": -0.1}, "weight_decay: must be at least 0, got -0.1"),
        ({"backbone_lr_factor": 2}, "backbone_lr_factor: must be at most 1, got 2"),
        ({"batch_size": 0}, "batch_size: must be at least 1, got 0"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
        ({"data": {"root": "x", "image_size": 8}}, "data.image_size: must be at least 16"),
        ({"data": {}}, "data.root: required, but not set; add it"),
        ({"data": {"root": "x", "rot": "y"}}, "data.rot: unknown key; did you mean root?"),
        ({"learning_rate": 1}, "learning_rate: unknown key"),
        ({"optimiser": "sgd"}, "optimiser: unknown key; did you mean optimizer"),
        ({"optimizer": "adamm"}, "optimizer: must be one of adamw, adam, sgd, got 'adamm'; did you mean adam"),
        ({"strategy": "frozen"}, "strategy: must be one of head, partial, progressive, gradual, full, got 'frozen'"),
        ({"scheduler": "linear"}, "scheduler: must be one of constant, cosine, step, plateau, one_cycle"),
        ({"balance": "x"}, "balance: must be one of none, sampler, loss, got 'x'"),
        ({"augmentation": "x"}, "augmentation: must be one of none, light, medium, strong, trivial, got 'x'"),
        ({"normalization": "x"}, "normalization: must be one of weights, dataset, got 'x'"),
        ({"objective": {"metric": "val/f1"}}, "objective.metric: must be one of val/macro_f1"),
    ],
)
def test_errors_say_file_key_rule_and_value(settings: dict[str, Any], message: str) -> None:
    assert f"trial.yaml: {message}" in refused(**settings)


def test_every_error_has_its_line() -> None:
    assert len(refused(lr=-1, epochs=0, optimizer="x").splitlines()) == 3


def test_what_is_required_has_no_default() -> None:
    with pytest.raises(InvalidInput) as caught:
        TrialConfig.from_mapping({}, "trial.yaml")
    lines = {f"trial.yaml: {key}: required, but not set; add it" for key in (*BASE, "strategy")}
    assert set(str(caught.value).splitlines()) == lines


@pytest.mark.parametrize(("metric", "mode"), [(name, metric.mode) for name, metric in METRICS.items()])
def test_the_mode_follows_from_the_metric(metric: str, mode: str) -> None:
    objective = config(objective={"metric": metric}).objective
    assert objective.mode == mode
    assert config(objective={"metric": metric, "mode": mode}).objective == objective
    wrong = {"min": "max", "max": "min"}[mode]
    assert refused(objective={"metric": metric, "mode": wrong}) == (
        f"trial.yaml: objective: {metric} is better when `{mode}`, got mode={wrong}; leave it out"
    )


def test_equal_values_are_not_better() -> None:
    for metric, good, bad in (("val/accuracy", 2.0, 1.0), ("val/loss", 1.0, 2.0)):
        objective = Objective.model_validate({"metric": metric})
        assert objective.better(good, bad)
        assert not objective.better(bad, good)
        assert not objective.better(good, good)


def test_none_is_a_value_of_patience() -> None:
    assert config(patience="none").patience is None
    assert config(**parse_yaml("patience: none", "x")).patience is None
    assert config(patience=3).patience == 3
    assert config(patience="none") == config()
    assert "patience" in refused(patience="never")


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        config().lr = 1.0  # type: ignore[misc]


@st.composite
def configs(draw: st.DrawFn) -> TrialConfig:
    strategy = draw(st.sampled_from(sorted(PARAMETERS)))
    epochs = draw(st.integers(3, 10_000))
    first = draw(st.integers(1, epochs - 2))
    values = {
        "trainable_stages": draw(st.integers(1, 30)),
        "unfreeze_epoch": first,
        "last_stage_epoch": first,
        "full_after": draw(st.integers(1, epochs - 1 - first)),
    }
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
    return TrialConfig(
        data=DataConfig(
            root=Path(draw(text)),
            manifest=draw(st.none() | text.map(Path)),
            image_size=draw(st.integers(16, 1024)),
            resize_mode=draw(st.sampled_from(["crop", "squash", "pad"])),
            weights_dir=draw(st.none() | text.map(Path)),
        ),
        objective=Objective(metric=draw(st.sampled_from(sorted(METRICS)))),
        architecture=draw(text),
        weights=draw(st.sampled_from(["pretrained", "none"]) | text),
        strategy=strategy,  # type: ignore[arg-type]
        **{name: values[name] for name in STRATEGY_PARAMETERS[strategy]},  # type: ignore[index]
        epochs=epochs,
        batch_size=draw(st.integers(1, 10**6)),
        lr=draw(st.floats(0, 100, exclude_min=True)),
        backbone_lr_factor=draw(st.floats(0, 1, exclude_min=True)),
        weight_decay=draw(st.floats(0, 1, exclude_max=True)),
        dropout=draw(st.floats(0, 1, exclude_max=True)),
        patience=draw(st.none() | st.integers(1, 100)),
        seed=draw(st.integers(0, 2**31 - 1)),
    )


@given(configs())
def test_json_round_trip(trial: TrialConfig) -> None:
    written = json.loads(json.dumps(trial.to_json()))
    assert TrialConfig.model_validate(written) == trial
    assert TrialConfig.model_validate_json(trial.model_dump_json(exclude_none=True)) == trial
    assert None not in written.values()
