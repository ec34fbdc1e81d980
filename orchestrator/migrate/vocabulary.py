"""Keys of old configurations: the setting of Thaw that each means, and the subjects on which no key may be lost."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

Subject = Literal["freezing", "balance", "weights"]
"""Subject of a key: lost, such a key would turn the trial into its opposite."""

# Sections that group the settings of a training. In other sections (logging, inference) the same words mean something
# else.
_SECTION_NAMES = (
    "model training train trainer data dataset datasets dataloader loader optimizer optim optimization scheduler "
    "lr_scheduler regularization early_stopping fine_tuning finetuning finetune transfer_learning transfer freezing "
    "augmentation experiment config hyperparameters hparams params general settings loss focal_loss imbalance "
    "backbone head lr learning_rate"
)
_SECTIONS = frozenset(_SECTION_NAMES.split())
# In these sections a word counts only with the section's name: a scheduler's patience is not the training's.
_OWN_WORDS = frozenset(
    (
        "scheduler",
        "lr_scheduler",
        "early_stopping",
        "augmentation",
        "loss",
        "focal_loss",
        "freezing",
        "backbone",
        "head",
        "lr",
        "learning_rate",
    )
)
_ONE_NAME = {
    "augmentations": "augmentation",
    "freeze": "freezing",
    "focal": "focal_loss",
    "encoder": "backbone",
    "classifier": "head",
}

KEYS: Mapping[str, str] = {
    "data.root": "data_dir data_path data_root dataset_dir dataset_path dataset_root root_dir image_dir "
    "data.root data.dir data.path dataset.root dataset.dir dataset.path",
    "data.name": "dataset data",
    "train_dir": "train_dir train_path data.train dataset.train",
    "data.image_size": "image_size img_size input_size image_dim img_dim resolution data.size",
    "data.resize_mode": "resize_mode",
    "architecture": "model model_name architecture arch backbone model_type model.name model.type model.architecture "
    "model.arch model.backbone backbone.name backbone.type backbone.arch backbone.architecture backbone.model_name",
    "checkpoint": "checkpoint_path checkpoint pretrained_path pretrained_weights weights_path model.path "
    "initial_checkpoint pretrained_checkpoint init_checkpoint load_from init_from backbone.checkpoint",
    "pretrained": "pretrained use_pretrained imagenet_weights use_pretrained_weights load_pretrained "
    "backbone.pretrained",
    "weights_choice": "weights model_weights",
    "epochs": "epochs num_epochs max_epochs n_epochs total_epochs num_train_epochs",
    "batch_size": "batch_size train_batch_size bs per_device_train_batch_size per_gpu_train_batch_size",
    "lr": "learning_rate lr base_lr initial_lr init_lr",
    "head_lr": "head_lr lr_head classifier_lr lr_classifier fc_lr lr_fc head_learning_rate learning_rate_head head.lr "
    "head.learning_rate lr.head learning_rate.head",
    "backbone_lr": "backbone_lr lr_backbone backbone_learning_rate learning_rate_backbone encoder_lr lr_encoder "
    "base_model_lr body_lr lr_body features_lr lr_features backbone.lr backbone.learning_rate lr.backbone "
    "learning_rate.backbone",
    "backbone_lr_factor": "backbone_lr_factor backbone_lr_multiplier backbone_lr_scale backbone_lr_ratio "
    "backbone_lr_mult lr_mult_backbone encoder_lr_ratio",
    "optimizer": "optimizer optim optimizer_name optimizer_type opt optimizer.name optimizer.type optim.name "
    "optim.type optimizer._target_ optim._target_",
    "weight_decay": "weight_decay wd",
    "scheduler": "scheduler lr_scheduler lr_schedule scheduler_type scheduler_name sched scheduler.name "
    "scheduler.type lr_scheduler.name lr_scheduler.type scheduler._target_ lr_scheduler._target_ lr_scheduler_type",
    "warmup_epochs": "warmup_epochs scheduler.warmup_epochs lr_scheduler.warmup_epochs",
    "clip_norm": "clip_norm grad_clip gradient_clip clip_grad clip_grad_norm max_grad_norm gradient_clip_val",
    "clip_mode": "clip_mode gradient_clip_algorithm grad_clip_mode",
    "ema_decay": "ema_decay model_ema_decay",
    "ema": "ema use_ema model_ema",
    "sampler": "use_weighted_sampler weighted_sampler use_weighted_random_sampler weighted_random_sampler "
    "weighted_sampling use_weighted_sampling balanced_sampler use_balanced_sampler balanced_sampling "
    "class_balanced_sampling class_balanced_sampler oversample oversampling use_oversampling sampler "
    "data_sampler train_sampler",
    "class_weights": "use_class_weights use_class_weight class_weights class_weight use_weighted_loss weighted_loss "
    "class_weighted_loss balanced_loss class_balanced_loss weighted_ce weighted_cross_entropy use_weighted_ce "
    "loss.class_weights loss.class_weight loss.use_class_weights loss.use_class_weight loss.weighted loss.balanced "
    "loss.weight loss.weights",
    "focal_gamma": "focal_gamma focal_loss_gamma loss.focal_gamma focal_loss.gamma",
    "loss": "loss loss_fn criterion loss_function loss_type loss_name loss.name loss.type loss._target_",
    "focal": "focal_loss use_focal_loss use_focal focal_loss.enabled",
    "label_smoothing": "label_smoothing smoothing loss.label_smoothing loss.smoothing",
    "augmentation": "augmentation augmentations use_augmentation data_augmentation augment augmentation.enabled "
    "augmentation.level augmentation.strength augmentation.type augmentation.name augmentation.policy",
    "no_augmentation": "no_aug",
    "mixup": "mixup mixup_alpha use_mixup",
    "cutmix": "cutmix cutmix_alpha use_cutmix",
    "random_erasing": "random_erasing reprob random_erasing_prob",
    "dropout": "dropout dropout_rate drop_rate dropout_p drop head.dropout head.dropout_rate",
    "drop_path": "drop_path drop_path_rate stochastic_depth",
    "channels_last": "channels_last",
    "sync_batchnorm": "sync_bn sync_batchnorm",
    "patience": "patience early_stopping_patience early_stop_patience early_stopping.patience",
    "early_stopping": "early_stopping use_early_stopping early_stopping.enabled",
    "min_delta": "min_delta early_stopping_min_delta early_stopping.min_delta",
    "seed": "seed random_seed manual_seed",
    "phases": "progressive_unfreezing progressive_unfreeze gradual_unfreezing gradual_unfreeze",
    "unfreeze_at": "unfreeze_backbone_at_epoch unfreeze_at_epoch unfreeze_epoch unfreeze_at unfreeze_backbone_epoch "
    "unfreeze_after_epoch unfreeze_from_epoch unfreeze_start_epoch thaw_epoch freezing.unfreeze_at_epoch "
    "freezing.unfreeze_epoch freezing.unfreeze_at",
    "frozen_epochs": "freeze_epochs freeze_backbone_epochs frozen_epochs frozen_backbone_epochs num_freeze_epochs "
    "n_freeze_epochs num_frozen_epochs n_frozen_epochs backbone_freeze_epochs backbone_frozen_epochs "
    "freeze_encoder_epochs freeze_base_epochs epochs_frozen epochs_freeze freeze_for_epochs freeze_n_epochs "
    "freeze_backbone_for_epochs freeze_backbone_n_epochs freeze_until_epoch warmup_freeze_epochs freeze_warmup_epochs "
    "warmup_frozen_epochs unfreeze_after unfreeze_after_epochs head_only_epochs epochs_head_only linear_probe_epochs "
    "freezing.epochs freezing.num_epochs freezing.freeze_epochs freezing.duration",
    "freeze": "freeze_backbone freeze_base freeze_features frozen_backbone freeze frozen freeze_base_model "
    "freeze_encoder freeze_feature_extractor freeze_extractor freeze_body freeze_pretrained backbone_frozen "
    "feature_extract feature_extraction feature_extractor_only linear_probe linear_probing head_only "
    "freeze_all_but_head freezing.enabled freezing.backbone freezing.freeze_backbone freezing.freeze "
    "backbone.freeze backbone.frozen",
    "thawed": "unfreeze_backbone unfreeze_all train_backbone trainable_backbone backbone_trainable finetune_backbone "
    "fine_tune_backbone backbone.trainable backbone.train",
    "layers": "unfreeze_layers unfrozen_layers trainable_layers layers_to_unfreeze layers_to_train train_layers "
    "finetune_layers fine_tune_layers unfreeze_blocks unfreeze_modules trainable_modules unfreeze_from "
    "freezing.unfreeze_layers freezing.trainable_layers",
    "frozen_layers": "freeze_layers frozen_layers layers_to_freeze freeze_modules frozen_modules freezing.layers "
    "freezing.freeze_layers freezing.frozen_layers",
    "thawed_stages": "trainable_stages unfreeze_stages unfreeze_last_stages num_trainable_stages "
    "trainable_backbone_layers freezing.trainable_stages",
    "frozen_stages": "frozen_stages freeze_stages num_frozen_stages freezing.frozen_stages backbone.frozen_stages",
    "freeze_at": "freeze_at backbone.freeze_at",
    "strategy": "strategy freeze_strategy freezing_strategy finetune_strategy finetuning_strategy "
    "fine_tune_strategy fine_tuning_strategy fine_tuning.strategy freezing.strategy freezing.mode freeze_mode "
    "finetune_mode fine_tune_mode",
    "norm_stats": "freeze_bn freeze_batchnorm freeze_batch_norm freeze_norm freeze_bn_stats frozen_bn bn_frozen "
    "norm_eval bn_eval freezing.bn freezing.batchnorm",
    "classes": "new_num_classes num_classes n_classes",
}
_SETTING_OF = {alias: setting for setting, aliases in KEYS.items() for alias in aliases.split()}

_FREEZING_SETTINGS = (
    "phases unfreeze_at frozen_epochs freeze thawed layers frozen_layers thawed_stages frozen_stages freeze_at "
    "norm_stats"
)
_SUBJECT_OF: Mapping[str, Subject] = {
    **dict.fromkeys(_FREEZING_SETTINGS.split(), "freezing"),
    **dict.fromkeys(("sampler", "class_weights", "focal", "focal_gamma"), "balance"),
    **dict.fromkeys(("checkpoint", "pretrained", "weights_choice"), "weights"),
}
_FREEZING = re.compile(
    r"freez|froz|thaw|trainable|linear_?prob|feature_?extract(ion|ing)?(_|$)|head_only|(train|tune)_layers|layers_to_"
    r"|fine_?tun\w*_(strategy|mode|at)"
)
_NO_FREEZING = re.compile(r"param|count_")
_BALANCE = re.compile(r"balanc|class_?weight|sample_?weight|pos_?weight|weighted|sampler|(over|under|re)_?sampl|focal")
_WEIGHTS = re.compile(
    r"(\w+_)?pretrain(ed)?(_\w+)?|(\w+_)?(checkpoint|ckpt|weights)(_(path|file|name|url|uri))?"
    r"|(load|init|start|finetune|fine_tune|resume)_from(_\w+)?|resume|state_dict(_\w+)?"
)
_NO_WEIGHTS = re.compile(r"save|log_|loss|class|dir$|interval|every|best_|last_")


def setting_of(path: Sequence[str]) -> str | None:
    """Return the setting that a key, with its sections, means; None for a key that is not understood."""
    sections, last = _plain_names(path)
    if any(section not in _SECTIONS for section in sections):
        return None
    together = ".".join([*sections[-1:], last])
    if together in _SETTING_OF or (sections and sections[-1] in _OWN_WORDS):
        return _SETTING_OF.get(together)
    return _SETTING_OF.get(last)


def subject_of(path: Sequence[str]) -> Subject | None:
    """Return the subject that a key speaks of, understood or not; None for any other key.

    Freezing counts in every section. Balance and weights count in the sections of a training alone: a sampler of
    hyperparameters and the checkpoint of an inference decide nothing.
    """
    sections, last = _plain_names(path)
    known = _SUBJECT_OF.get(setting_of(path) or "")
    if known is not None:
        return known
    if any(_FREEZING.search(name) and not _NO_FREEZING.search(name) for name in (*sections, last)):
        return "freezing"
    outer = [section for section in sections if section not in _SECTIONS]
    if all(map(_BALANCE.search, outer)) and any(map(_BALANCE.search, (*sections, last))):
        return "balance"
    names_a_file = _WEIGHTS.fullmatch(".".join(outer)) and last in ("path", "file", "name", "url", "load")
    speaks = not outer and _WEIGHTS.fullmatch(last) and not _NO_WEIGHTS.search(last)
    return "weights" if names_a_file or speaks else None


def _plain_names(path: Sequence[str]) -> tuple[list[str], str]:
    """Return the names of the sections and of the key, in one spelling."""
    spaced = (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name) for name in path)
    *sections, last = (re.sub(r"[\s\-]+", "_", name.strip()).lower() for name in spaced)
    return [_ONE_NAME.get(section, section) for section in sections], last
