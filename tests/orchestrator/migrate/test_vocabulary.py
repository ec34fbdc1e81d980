import pytest

from orchestrator.migrate.values import CONVERTERS
from orchestrator.migrate.vocabulary import KEYS, setting_of, subject_of
from trainables.config import TrialConfig


@pytest.mark.parametrize(
    ("key", "setting"),
    [
        ("lr", "lr"),
        ("learningRate", "lr"),
        ("learning-rate", "lr"),
        ("training.optimizer.lr", "lr"),
        ("optimizer.name", "optimizer"),
        ("model.name", "architecture"),
        ("early_stopping.patience", "patience"),
        ("patience", "patience"),
        ("scheduler.patience", None),
        ("scheduler.type", "scheduler"),
        ("augmentation.random_erasing", None),
        ("augmentations.level", "augmentation"),
        ("inference.batch_size", None),
        ("logging.name", None),
        ("name", None),
        ("checkpoint_path", "checkpoint"),
        ("model.unfreeze_backbone_at_epoch", "unfreeze_at"),
        ("progressive_unfreezing", "phases"),
        ("freeze_epochs", "frozen_epochs"),
        ("freezing.epochs", "frozen_epochs"),
        ("freeze.epochs", "frozen_epochs"),
        ("freezing.enabled", "freeze"),
        ("freezing.lr", None),
        ("unfreeze.epochs", None),
        ("unfreezeLayers", "layers"),
        ("lr_head", "head_lr"),
        ("optimizer._target_", "optimizer"),
        ("reprob", "random_erasing"),
    ],
)
def test_what_a_key_means(key: str, setting: str | None) -> None:
    assert setting_of(key.split(".")) == setting


def test_no_alias_means_two_things() -> None:
    aliases = [alias for names in KEYS.values() for alias in names.split()]
    assert len(aliases) == len(set(aliases))
    assert set(CONVERTERS) <= set(KEYS)


@pytest.mark.parametrize(
    ("key", "subject"),
    [
        ("freeze_backbone", "freezing"),
        ("freeze_wings", "freezing"),
        ("callbacks[0].BackboneFinetuning.unfreeze_backbone_at_epoch", "freezing"),
        ("unfreeze.at", "freezing"),
        ("model.linear_probing_steps", "freezing"),
        ("finetune_strategy", "freezing"),
        ("strategy", None),
        ("num_trainable_params", None),
        ("feature_extractor", None),
        ("use_class_weight", "balance"),
        ("class_balance_beta", "balance"),
        ("focal_loss.alpha", "balance"),
        ("loss.pos_weight", "balance"),
        ("optuna.sampler", None),
        ("weight_decay", None),
        ("batch_sampler_class", "balance"),
        ("checkpoint_path", "weights"),
        ("model.init_weights", "weights"),
        ("weights.path", "weights"),
        ("finetune_from", "weights"),
        ("resume", "weights"),
        ("save_checkpoint", None),
        ("checkpoint.monitor", None),
        ("checkpoint_hist", None),
        ("inference.checkpoint_path", None),
        ("log_weights", None),
        ("loss_weights", None),
        ("epochs", None),
    ],
)
def test_the_subject_of_a_key_that_must_not_be_lost(key: str, subject: str | None) -> None:
    assert subject_of(key.split(".")) == subject


def test_every_setting_is_one_of_thaw_or_of_the_importer() -> None:
    helpers = {"train_dir", "checkpoint", "pretrained", "weights_choice", "backbone_lr", "head_lr", "sampler", "loss"}
    helpers |= {"class_weights", "focal", "early_stopping", "clip_mode", "ema", "no_augmentation", "mixup", "cutmix"}
    helpers |= {"phases", "unfreeze_at", "frozen_epochs", "freeze", "thawed", "layers", "frozen_layers", "freeze_at"}
    helpers |= {"thawed_stages", "frozen_stages", "classes", "data.name", "data.root", "data.image_size"}
    helpers |= {"data.resize_mode"}
    assert set(KEYS) - helpers <= set(TrialConfig.model_fields)
