import json
from typing import Any

import jsonschema
import pytest

from orchestrator.spec.schema import sweep_schema
from search_spaces.documents import parse_yaml
from search_spaces.presets import preset_names, preset_text

VALIDATOR = jsonschema.Draft202012Validator(sweep_schema())


def problems(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_valid_schema_and_plain_json() -> None:
    jsonschema.Draft202012Validator.check_schema(sweep_schema())
    assert json.loads(json.dumps(sweep_schema(), allow_nan=False)) == sweep_schema()


@pytest.mark.parametrize("name", preset_names())
def test_it_accepts_every_preset(name: str) -> None:
    assert problems(parse_yaml(preset_text(name), name)) == []


def test_it_accepts_the_design_s_sweep_file(design: Any) -> None:
    assert problems(parse_yaml(design.read_text(), "design")) == []


def test_it_accepts_the_resolved_file(design_spec: Any) -> None:
    assert problems(parse_yaml(design_spec.to_yaml(), "resolved")) == []


@pytest.mark.parametrize(
    "section",
    [
        {"task": "classification", "objective": {"metric": "val/loss"}},
        {"stopping": "none"},
        {"stopping": {"asha": {}}},
        {"trial": {"patience": "none"}},
        {"trial": {"patience": 3}},
        {"trial": {"clip_norm": "none", "ema_decay": "none", "micro_batch_size": "none"}},
        {"tracking": {"notify": {"command": "none"}}},
        {"resources": {"concurrent": "auto", "epoch_timeout": "none"}},
        {"resources": {"concurrent": 4}},
        {"resources": {"workers": 4, "placement": "spread", "epoch_timeout": 90.5}},
        {"storage": {"cache_dir": "auto"}},
        {"storage": {"cache_dir": "/tmp/cache"}},
        {"storage": {"cache_budget": "auto"}},
        {"storage": {"root": "s3://bucket/runs", "keep_best": 3}},
        {"storage": {"keep_best": "none"}},
        {"storage": {"cache_budget": "20GiB"}},
        {"storage": {"cache_budget": 5000000}},
        {"tracking": {"tensorboard": "none"}},
        {"tracking": {"tensorboard": {}}},
        {"tracking": {"tensorboard": {"folder": "auto"}, "wandb": {"mode": "offline"}}},
        {"tracking": {"mlflow": "none"}},
        {"tracking": {"mlflow": {}}},
        {"tracking": {"mlflow": {"uri": "auto", "experiment": "photos"}}},
        {"tracking": {"mlflow": {"uri": "http://localhost:5000"}}},
        {"search": {"points": "points.yaml"}},
        {"search": {"points": [{"lr": 0.1}]}},
        {"space": {"lr": [{"log": [1e-5, 1], "when": {"strategy": ["head", "full"], "epochs": 3}}]}},
    ],
)
def test_it_accepts_the_words_and_forms_of_the_file(section: dict[str, Any]) -> None:
    assert problems({"data": {"root": "photos"}, **section}) == []


@pytest.mark.parametrize(
    "section",
    [
        {"serach": {}},
        {"task": "clasification"},
        {"trial": {"task": "classification"}},
        {"objective": {"metric": "val/f1"}},
        {"search": {"trails": 3}},
        {"data": {"root": "a", "folder": "b"}},
        {"trial": {"batchsize": 3}},
        {"space": {"lrr": {"log": [1, 2]}}},
        {"space": {"lr": {"lgo": [1, 2]}}},
        {"space": {"lr": {"log": [1, 2], "float": [1, 2]}}},
        {"space": {"lr": {"log": [1, 2, 3]}}},
        {"space": {"lr": 0.1}},
        {"stopping": "never"},
        {"resources": {"workers": 0}},
        {"resources": {"placement": "strict"}},
        {"resources": {"epoch_timeout": "never"}},
        {"tracking": {"tensorboard": "auto"}},
        {"tracking": {"tensorboard": {"foldr": "boards"}}},
        {"storage": {"cache_budget": "much"}},
        {"storage": {"cache_budget": -1}},
        {"storage": {"keep_best": 0}},
        {"resources": {"concurrent": "many"}},
        {"search": {"sampler": "tpee"}},
        {"trial": {"optimizer": "adamv"}},
    ],
)
def test_it_refuses_what_the_file_refuses(section: dict[str, Any]) -> None:
    assert problems({"data": {"root": "photos"}, **section})


def test_it_needs_nothing_but_the_data() -> None:
    assert problems({}) == ["'data' is a required property"]


def test_every_setting_has_a_description_for_the_editor() -> None:
    schema = sweep_schema()
    for section in ("trial", "space"):
        for name, setting in schema["properties"][section]["properties"].items():
            assert setting.get("description"), f"{section}.{name}"
