import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli import run as cli
from orchestrator.migrate.config import convert_config, import_file
from orchestrator.migrate.vocabulary import KEYS
from orchestrator.spec.loading import load_trial
from search_spaces.documents import dump_yaml, parse_yaml
from search_spaces.errors import InvalidInput
from trainables.config import TrialConfig

# The guides' own example, keys in sections.
GUIDE = """
model:
  name: mobilenet_v3_large
  pretrained: true
  new_num_classes: 6
  dropout: 0.2
training:
  checkpoint_path: null
  freeze_backbone: true
  unfreeze_backbone_at_epoch: 5
  learning_rate: 1e-3
  batch_size: 64
  num_epochs: 20
  optimizer: {type: AdamW, weight_decay: 1e-4, betas: [0.9, 0.999]}
  scheduler: {name: CosineAnnealingLR, T_max: 20}
  use_weighted_sampler: true
  use_class_weights: false
  label_smoothing: 0.1
  early_stopping: {enabled: true, patience: 7}
data: {data_dir: /photos, img_size: [224, 224], num_workers: 4}
seed: 7
wandb: {project: trash}
"""


def test_a_guides_configuration_becomes_a_trial() -> None:
    imported = convert_config(parse_yaml(GUIDE, "guide"), "old.yaml")
    assert imported.config == TrialConfig.model_validate(
        {
            "data": {"root": "/photos", "image_size": 224},
            "architecture": "mobilenetv3_large_100",
            "weights": "pretrained",
            "strategy": "progressive",
            "unfreeze_epoch": 5,
            "epochs": 20,
            "batch_size": 64,
            "lr": 1e-3,
            "optimizer": "adamw",
            "weight_decay": 1e-4,
            "scheduler": "cosine",
            "balance": "sampler",
            "label_smoothing": 0.1,
            "dropout": 0.2,
            "patience": 7,
            "seed": 7,
        }
    )
    assert imported.unknown == (
        "training.optimizer.betas: [0.9, 0.999]",
        "training.scheduler.T_max: 20",
        "data.num_workers: 4",
        "wandb.project: trash",
    )
    assert imported.notes == ("model.new_num_classes: 6 is left out: Thaw counts the classes of the data",)
    assert "augmentation: none" in imported.defaults
    assert "data.resize_mode: crop" in imported.defaults
    assert not {line.partition(":")[0] for line in imported.defaults} & {"lr", "epochs", "strategy", "seed", "weights"}


def test_every_value_says_where_it_came_from() -> None:
    lines = convert_config(parse_yaml(GUIDE, "guide"), "old.yaml").text.splitlines()
    assert lines[0] == "# Written by `thaw import-config`. Each value names the key of old.yaml it came from."
    assert "  root: /photos  # from data.data_dir" in lines
    assert "lr: 0.001  # from training.learning_rate" in lines
    assert "unfreeze_epoch: 5  # from training.unfreeze_backbone_at_epoch, training.freeze_backbone" in lines
    assert all(" # from " in line or line == "data:" for line in lines[1:])


def test_the_same_flat() -> None:
    old = {
        "model_name": "efficientnet_b0",
        "checkpoint_path": "models/best.pth",
        "freeze_backbone": True,
        "unfreeze_backbone_at_epoch": -1,
        "progressive_unfreezing": False,
        "lr": 0.01,
        "epochs": 3,
        "image_size": 96,
        "dataset_path": "photos",
        "use_class_weights": True,
        "augmentation": "strong",
        "patience": 2,
    }
    config = convert_config(old, "old.yaml").config
    assert (config.strategy, config.weights, config.balance) == ("head", "models/best.pth", "loss")
    assert (config.augmentation, config.patience, config.data.image_size) == ("strong", 2, 96)


def test_the_keys_of_hugging_face_and_a_section_of_rates() -> None:
    old = {
        "model_name": "resnet50",
        "training": {
            "num_train_epochs": 3,
            "per_device_train_batch_size": 8,
            "lr_scheduler_type": "cosine",
            "optim": "adamw_torch",
            "lr": {"head": 1e-3, "backbone": 1e-4},
        },
    }
    imported = convert_config(old, "old.yaml")
    config = imported.config
    assert (config.epochs, config.batch_size, config.scheduler, config.optimizer) == (3, 8, "cosine", "adamw")
    assert (config.lr, config.backbone_lr_factor, imported.unknown) == (1e-3, pytest.approx(0.1), ())


def test_what_is_required_and_not_said_is_a_default_that_is_told() -> None:
    imported = convert_config({"model": "resnet50"}, "old.yaml")
    assert imported.defaults[:4] == ("data.root: photos", "strategy: full", "epochs: 10", "lr: 0.0001")
    assert "lr: 0.0001  # default: no key for it was understood" in imported.text
    frozen = convert_config({"model": "resnet50", "freeze_backbone": True}, "old.yaml")
    assert "lr: 0.001" in frozen.defaults
    late = convert_config({"model": "resnet50", "unfreeze_backbone_at_epoch": 30}, "old.yaml").config
    assert (late.unfreeze_epoch, late.epochs) == (30, 40)


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ({"lr": 1}, "old.yaml: a model must be named, got none under model, model_name, architecture, arch; add"),
        (
            {"model": "resnet50", "lr": 1e-3, "optimizer": {"lr": 1e-4}},
            "old.yaml: lr and optimizer.lr must agree, got 0.001 and 0.0001; remove one of them",
        ),
        (
            {"model": "resnet50", "data": {"use_weighted_sampler": True}, "use_class_weights": True},
            "old.yaml: data.use_weighted_sampler and use_class_weights must not both be on: each makes up for the "
            "imbalance alone, together a rare class counts twice; switch one off",
        ),
        (
            {"model": "resnet50", "training": {"learning_rate": -1}},
            "old.yaml: training.learning_rate -> lr: must be above 0, got -1",
        ),
        (
            {"model": "resnet50", "num_epochs": 0},
            "old.yaml: num_epochs -> epochs: must be at least",
        ),
    ],
)
def test_what_cannot_be_a_trial_is_refused_under_its_old_name(old: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        convert_config(old, "old.yaml")


def test_a_value_without_a_counterpart_is_listed_with_the_reason_and_its_default_taken() -> None:
    imported = convert_config({"model": "resnet50", "optimizer": "Lamb", "scheduler": "poly"}, "old.yaml")
    assert imported.unknown == (
        "optimizer: Lamb (Thaw has adam, adamw, sgd)",
        "scheduler: poly (Thaw has constant, cosine, one_cycle, plateau, step)",
    )
    assert "optimizer: adamw" in imported.defaults


@pytest.mark.parametrize(
    ("old", "said"),
    [
        ({"class_weights": [1, 2]}, "class_weights: must be understood, got [1, 2]: Thaw computes the weights"),
        ({"freeze_backbone": "maybe"}, "freeze_backbone: must be understood, got 'maybe': must be true or false"),
        ({"freeze_wings": 3}, "freeze_wings: must be understood, got 3; remove it, and set `strategy`"),
        ({"freezing": {"until": "x"}}, "freezing.until: must be understood, got 'x'"),
        ({"unfreeze": {"epochs": 4}}, "unfreeze.epochs: must be understood, got 4"),
        ({"unfreeze_wings": False}, "unfreeze_wings: must be understood, got False"),
        ({"freeze_epochs": "${freeze}"}, "freeze_epochs: must be understood, got '${freeze}': a reference"),
        (
            {"callbacks": [{"class_path": "BackboneFinetuning", "init_args": {"unfreeze_backbone_at_epoch": 4}}]},
            "callbacks[0].init_args.unfreeze_backbone_at_epoch: must be understood, got 4",
        ),
        ({"freeze_backbone": True, "progressive_unfreezing": [7]}, "progressive_unfreezing[0]: must be a section"),
        ({"unfreeze_layers": ["layer9"]}, "unfreeze_layers: must be understood, got 'layer9': resnet18 has no layer"),
        ({"unfreeze_layers": ["layer3"]}, "every stage from these layers to the head must train"),
        ({"unfreeze_layers": 2}, "unfreeze_layers: must be understood, got 2: must be names of layers"),
        ({"freeze_backbone": True, "freeze_epochs": 0}, "freeze_epochs: must be at least 1 with a frozen backbone"),
        ({"finetune_strategy": "gradual"}, "finetune_strategy: must agree with the other keys, got gradual"),
        ({"class_balance_beta": 0.999}, "class_balance_beta: must be understood, got 0.999; remove it, and set `bal"),
        ({"focal_loss": {"gamma": 2, "alpha": 0.25}}, "focal_loss.alpha: must be understood, got 0.25"),
        ({"pretrained": "mine"}, "pretrained: must be understood, got 'mine': Thaw has none, pretrained; remove it"),
        ({"resume_from": "last.pth"}, "resume_from: must be understood, got 'last.pth'; remove it, and set `weights`"),
        ({"fine_tune_at": 100}, "fine_tune_at: must be understood, got 100"),
        ({"loss": {"weight": [1, 2]}}, "loss.weight: must be understood, got [1, 2]"),
        ({"backbone": {"frozen_blocks": 3}}, "backbone.frozen_blocks: must be understood, got 3"),
        ({"load_weights": False}, "load_weights: must be understood, got False"),
    ],
)
def test_a_key_about_freezing_balance_or_weights_that_is_not_understood_is_refused(
    old: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        convert_config({"model": "resnet18", **old}, "old.yaml")


def test_all_that_is_refused_is_said_at_once() -> None:
    old = {"model": "resnet18", "freeze_wings": 3, "class_weights": [1], "pretrained": "mine"}
    with pytest.raises(InvalidInput) as error:
        convert_config(old, "old.yaml")
    keys = [line.split(": ")[1] for line in str(error.value).splitlines()]
    assert keys == ["freeze_wings", "class_weights", "pretrained"]


def test_what_is_off_or_empty_is_listed_alone() -> None:
    off = {"freeze_wings": False, "oversample_minority": None, "sampler_name": "none", "callbacks": [{"a": 1}]}
    imported = convert_config({"model": "resnet18", **off}, "old.yaml")
    assert imported.unknown == (
        "freeze_wings: False",
        "oversample_minority: None",
        "sampler_name: none",
        "callbacks[0].a: 1",
    )


@pytest.mark.parametrize(
    ("own", "command"),
    [
        ({"data": {"root": "p"}, "architecture": "resnet18", "strategy": "head"}, "thaw trial 'my old.yaml'"),
        ({"data": {"root": "p"}, "space": {"lr": {"log": [0.1, 1]}}}, "thaw sweep 'my old.yaml'"),
    ],
)
def test_a_file_of_thaw_is_one_already(own: dict[str, Any], command: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"file of Thaw already; run it with `{command}`")):
        convert_config(own, "my old.yaml")


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"early_stopping": {"enabled": False, "patience": 3}}, {"patience": None}),
        ({"early_stopping": False, "patience": 3}, {"patience": None}),
        ({"early_stopping": True, "patience": 3}, {"patience": 3}),
        ({"lr": 1e-2, "backbone_lr": 1e-3}, {"backbone_lr_factor": 0.1}),
        ({"pretrained": False}, {"weights": "none"}),
        ({"pretrained": False, "checkpoint_path": "a.pth"}, {"weights": "a.pth"}),
        ({"use_weighted_sampler": False}, {"balance": "none"}),
        ({"gradient_clip_val": 0}, {"clip_norm": None}),
        ({"scheduler": None}, {"scheduler": "constant"}),
        ({"data": {"train_dir": "photos/train", "val_dir": "photos/val"}}, {}),
        ({"freezing": {"enabled": True, "epochs": 4}, "epochs": 9}, {"unfreeze_epoch": 4, "epochs": 9}),
        ({"freeze": {"backbone": True}}, {"strategy": "head"}),
        ({"strategy": "head", "mixed_precision": True}, {"strategy": "head"}),
        ({"train_backbone": False}, {"strategy": "head"}),
        ({"lr": 1e-3, "backbone_lr": 0}, {"strategy": "head"}),
        ({"feature_extract": True, "freeze_bn": True}, {"strategy": "head", "norm_stats": "frozen"}),
        ({"lr": 1e-3, "backbone_lr_multiplier": 0}, {"strategy": "head"}),
        ({"backbone": {"name": "resnet50", "frozen": True}, "head": {"dropout": 0.2}}, {"strategy": "head"}),
        ({"optimizer": {"head": {"lr": 1e-2}, "backbone": {"lr": 1e-3}}}, {"lr": 1e-2, "backbone_lr_factor": 0.1}),
        ({"encoder": {"trainable": False}, "classifier": {"lr": 1e-2}}, {"strategy": "head", "lr": 1e-2}),
        ({"loss": {"type": "ce", "weight": "balanced"}}, {"balance": "loss"}),
        ({"frozen_stages": 2}, {"strategy": "partial", "trainable_stages": 2}),
        ({"frozen_stages": -1}, {"strategy": "full"}),
        ({"freeze_at": 5}, {"strategy": "head"}),
        ({"freeze_layers": ["conv1", "bn1", "layer1", "layer2"]}, {"strategy": "partial", "trainable_stages": 2}),
        ({"weights": None}, {"weights": "none"}),
        ({"weights": None, "pretrained": True}, {"weights": "pretrained"}),
        ({"weights": "best.pth"}, {"weights": "best.pth"}),
        ({"dataset": "imagefolder", "data_dir": "photos"}, {}),
        ({"loss": "focal"}, {"focal_gamma": 2.0}),
        ({"loss": {"type": "weighted_cross_entropy"}}, {"balance": "loss"}),
        ({"model_ema": False, "model_ema_decay": 0.99}, {"ema_decay": None}),
        ({"clip_grad": 1.0, "clip_mode": "value"}, {"clip_norm": None}),
        ({"mixup": 0.2, "cutmix": 1.0}, {"mixing": "mixup", "mixing_alpha": 0.2}),
        ({"mixup": 0.0}, {"mixing": "none"}),
        ({"lr": 1e-4, "head_lr": 1e-3}, {"lr": 1e-3, "backbone_lr_factor": 0.1}),
    ],
)
def test_keys_that_work_together(old: dict[str, Any], expected: dict[str, Any]) -> None:
    config = convert_config({"model": "resnet50", **old}, "old.yaml").config
    assert {name: getattr(config, name) for name in expected} == expected
    assert str(config.data.root) == "photos"


def test_a_rate_of_the_backbone_that_is_no_share_is_listed() -> None:
    over = convert_config({"model": "resnet50", "lr": 1e-3, "backbone_lr": 1e-2}, "old.yaml")
    assert over.unknown == ("backbone_lr: 0.01 (must be a share of the learning rate, above 0 and at most 1)",)
    alone = convert_config({"model": "resnet50", "backbone_lr": 1e-2}, "old.yaml")
    assert alone.unknown == ("backbone_lr: 0.01 (without a learning rate of the head)",)


leaf = st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=12)
words = st.sampled_from(["adam", "cosine", "none", "true", "photos", "a b/ü#: x", "~/x", "strong", "resnet50", "1e-3"])
names = st.sampled_from(sorted({alias.rpartition(".")[2] for aliases in KEYS.values() for alias in aliases.split()}))
configurations = st.recursive(
    st.dictionaries(names | st.text(max_size=6), leaf | words | st.lists(leaf, max_size=3), max_size=8),
    lambda inner: st.dictionaries(st.sampled_from(["model", "training", "data", "optimizer", "x"]), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150)
@given(configurations, st.text(max_size=30))
def test_whatever_it_says_the_file_is_what_was_validated(old: dict[str, Any], source: str) -> None:
    try:
        imported = convert_config({"architecture": "resnet50", **old}, source)
    except InvalidInput:
        return
    assert TrialConfig.model_validate(parse_yaml(imported.text, "text")) == imported.config
    told = [line.partition(":")[0] for line in imported.defaults]
    assert len(told) == len(set(told))


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.sampled_from(["freezing", "loss", "model"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(st.dictionaries(names | st.sampled_from(["freeze_it", "my_sampler", "init_weights"]), odd, max_size=6))
def test_whatever_a_file_holds_it_is_written_or_refused(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "old.yaml").write_text(dump_yaml({"model": "resnet18", **old}), encoding="utf-8")
    code = cli(["import-config", str(folder / "old.yaml"), "--out", str(folder / "new.yaml")])
    assert code in (0, 2)
    assert (folder / "new.yaml").exists() == (code == 0)
    if code == 0:
        load_trial(folder / "new.yaml")


def test_the_command_writes_a_file_that_thaw_trial_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "old.yaml").write_text(GUIDE.replace("/photos", "photos"))
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert cli(["import-config", "configs/old.yaml", "--out", "trials/new.yaml"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "not understood:\n  training.optimizer.betas: [0.9, 0.999]\n" in told.err
    assert "defaults taken:\n" in told.err
    config = load_trial(Path("trials/new.yaml"))
    assert config.data.root.resolve() == tmp_path / "photos"
    assert math.isclose(config.lr, 1e-3)
    before = Path("trials/new.yaml").read_text()
    assert cli(["import-config", "configs/old.yaml", "--out", "trials/new.yaml"]) == 2
    assert "must not exist yet, but it does; choose another name with --out" in " ".join(
        capsys.readouterr().err.split()
    )
    assert Path("trials/new.yaml").read_text() == before


def test_paths_beside_the_old_file_and_absolute_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old = tmp_path / "project" / "old.yaml"
    (old.parent / "photos").mkdir(parents=True)
    values = {"model": "resnet50", "data_dir": "photos", "checkpoint_path": "/models/best.pth"}
    old.write_text(dump_yaml(values))
    config = load_trial(tmp_path / "new.yaml") if import_file(old, Path("new.yaml")) else None
    assert config is not None
    assert config.data.root == tmp_path / "project" / "photos"
    assert config.weights == "/models/best.pth"


def test_a_model_that_timm_does_not_have_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("model_name: resnt18\n")
    with pytest.raises(InvalidInput, match="got 'resnt18'; did you mean resnet18"):
        import_file(tmp_path / "old.yaml", tmp_path / "new.yaml")
    assert not (tmp_path / "new.yaml").exists()
