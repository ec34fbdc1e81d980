"""Vocabulary of old configurations: Thaw's settings for their keys, and Thaw's names for their values."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from orchestrator.migrate.freezing import whole_number

# Sections that group the settings of a training. In other sections (logging, inference) the same words mean something
# else.
_SECTIONS = (
    "model training train trainer data dataset datasets dataloader loader optimizer optim optimization scheduler "
    "lr_scheduler regularization early_stopping fine_tuning finetuning finetune transfer_learning transfer freezing "
    "augmentation augmentations experiment config hyperparameters hparams params general settings loss imbalance"
)
# In these sections a word counts only with the section's name: a scheduler's patience is not the training's.
_OWN_WORDS = frozenset(("scheduler", "lr_scheduler", "early_stopping", "augmentation", "augmentations", "loss"))

KEYS: Mapping[str, str] = {
    "data.root": "data_dir data_path data_root dataset_dir dataset_path dataset_root root_dir image_dir dataset data "
    "data.root data.dir data.path dataset.root dataset.dir dataset.path",
    "train_dir": "train_dir train_path data.train dataset.train",
    "data.image_size": "image_size img_size input_size image_dim img_dim resolution data.size",
    "data.resize_mode": "resize_mode",
    "architecture": "model model_name architecture arch backbone model_type model.name model.type model.architecture "
    "model.arch model.backbone",
    "checkpoint": "checkpoint_path checkpoint pretrained_path pretrained_weights weights_path model.path",
    "pretrained": "pretrained use_pretrained weights imagenet_weights",
    "epochs": "epochs num_epochs max_epochs n_epochs total_epochs",
    "batch_size": "batch_size train_batch_size bs",
    "lr": "learning_rate lr base_lr initial_lr init_lr head_lr classifier_lr",
    "backbone_lr": "backbone_lr backbone_learning_rate",
    "backbone_lr_factor": "backbone_lr_factor backbone_lr_multiplier backbone_lr_scale",
    "optimizer": "optimizer optim optimizer_name optimizer_type optimizer.name optimizer.type optim.name optim.type",
    "weight_decay": "weight_decay wd",
    "scheduler": "scheduler lr_scheduler lr_schedule scheduler_type scheduler_name scheduler.name scheduler.type "
    "lr_scheduler.name lr_scheduler.type",
    "warmup_epochs": "warmup_epochs scheduler.warmup_epochs lr_scheduler.warmup_epochs",
    "clip_norm": "clip_norm grad_clip gradient_clip clip_grad_norm max_grad_norm gradient_clip_val",
    "ema_decay": "ema_decay",
    "sampler": "use_weighted_sampler weighted_sampler use_weighted_random_sampler",
    "class_weights": "use_class_weights class_weights use_weighted_loss weighted_loss loss.class_weights "
    "loss.use_class_weights",
    "focal_gamma": "focal_gamma",
    "label_smoothing": "label_smoothing loss.label_smoothing",
    "augmentation": "augmentation augmentations use_augmentation data_augmentation augment augmentation.enabled "
    "augmentation.level augmentation.strength augmentation.type augmentation.name augmentation.policy",
    "random_erasing": "random_erasing",
    "dropout": "dropout dropout_rate drop_rate dropout_p",
    "drop_path": "drop_path drop_path_rate",
    "patience": "patience early_stopping_patience early_stop_patience early_stopping.patience",
    "early_stopping": "early_stopping use_early_stopping early_stopping.enabled",
    "min_delta": "min_delta early_stopping_min_delta early_stopping.min_delta",
    "seed": "seed random_seed manual_seed",
    "phases": "progressive_unfreezing progressive_unfreeze gradual_unfreezing gradual_unfreeze",
    "unfreeze_at": "unfreeze_backbone_at_epoch unfreeze_at_epoch unfreeze_epoch",
    "freeze": "freeze_backbone freeze_base freeze_features frozen_backbone",
    "classes": "new_num_classes num_classes n_classes",
}
_SETTING_OF = {alias: setting for setting, aliases in KEYS.items() for alias in aliases.split()}

# Names of torchvision and of tutorials, where timm's differ.
_ARCHITECTURES: Mapping[str, str] = {
    **{f"efficientnetb{n}": f"efficientnet_b{n}" for n in range(8)},
    **{f"efficientnet_v2_{size}": f"tf_efficientnetv2_{size}" for size in "sml"},
    **dict.fromkeys(("mobilenet_v2", "mobilenetv2", "mobilenet"), "mobilenetv2_100"),
    **dict.fromkeys(("mobilenet_v3_large", "mobilenetv3_large", "mobilenet_v3"), "mobilenetv3_large_100"),
    **dict.fromkeys(("mobilenet_v3_small", "mobilenetv3_small"), "mobilenetv3_small_100"),
    **{f"vit_{s}_{n}": f"vit_{w}_patch{n}_224" for s, w in (("b", "base"), ("l", "large")) for n in (16, 32)},
    **{f"swin_{s}": f"swin_{w}_patch4_window7_224" for s, w in (("t", "tiny"), ("s", "small"), ("b", "base"))},
    **{f"mnasnet{width}": f"mnasnet_{name}" for width, name in (("0_5", "050"), ("1_0", "100"))},
    **{f"regnet_{kind}_400mf": f"regnet{kind}_004" for kind in "xy"},
    **{f"regnet_{kind}_800mf": f"regnet{kind}_008" for kind in "xy"},
    **{f"regnet_{kind}_{n}gf": f"regnet{kind}_{n:02}0" for kind in "xy" for n in (8, 16, 32)},
}
_OPTIMIZERS = {"adam": "adam", "adamw": "adamw", "sgd": "sgd", "sgdmomentum": "sgd", "momentum": "sgd"}
_SCHEDULERS = {
    **dict.fromkeys(("none", "constant", "null", "false", "off", "constantlr"), "constant"),
    **dict.fromkeys(("cosine", "cosineannealing", "cosineannealinglr"), "cosine"),
    **dict.fromkeys(("step", "steplr"), "step"),
    **dict.fromkeys(("plateau", "reducelronplateau", "reduceonplateau"), "plateau"),
    **dict.fromkeys(("onecycle", "onecyclelr"), "one_cycle"),
}
_AUGMENTATIONS = {
    **dict.fromkeys(("none", "false", "off", "no"), "none"),
    **dict.fromkeys(("light", "basic", "simple", "weak", "minimal"), "light"),
    **dict.fromkeys(("medium", "moderate", "standard", "default", "true", "yes", "on"), "medium"),
    **dict.fromkeys(("strong", "heavy", "aggressive", "advanced"), "strong"),
    **dict.fromkeys(("trivial", "trivialaugment", "trivialaugmentwide"), "trivial"),
}
_RESIZE_MODES = {"crop": "crop", "squash": "squash", "stretch": "squash", "pad": "pad", "letterbox": "pad"}
_PRETRAINED = {
    **dict.fromkeys(("true", "yes", "imagenet", "default", "imagenet1kv1", "imagenet1kv2", "pretrained"), "pretrained"),
    **dict.fromkeys(("false", "no", "none", "random", "scratch"), "none"),
}
_SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1", "balanced", "auto", "inverse"), True),
    **dict.fromkeys(("false", "no", "off", "0", "none"), False),
}


class UnknownValue(Exception):
    """UnknownValue: a value that has no counterpart in Thaw; the message gives the reason, where there is one."""


def setting_of(path: Sequence[str]) -> str | None:
    """Return the setting that a key, with its sections, means; None for a key that is not understood."""
    *sections, last = names = [_plain_name(name) for name in path]
    if any(section not in _SECTIONS.split() for section in sections):
        return None
    together = ".".join(names[-2:]).replace("augmentations.", "augmentation.")
    if together in _SETTING_OF or (sections and sections[-1] in _OWN_WORDS):
        return _SETTING_OF.get(together)
    return _SETTING_OF.get(last)


def truth(value: Any) -> bool:
    """Read a switch: true, yes, on; false, no, off."""
    return bool(_word(_SWITCH, value))


def _word(words: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list | dict):
        raise UnknownValue("must be one word")
    word = re.sub(r"[^a-z0-9]", "", str(value).lower())
    if word not in words:
        valid = sorted({str(meant) for meant in words.values()})
        raise UnknownValue(f"Thaw has {', '.join(valid)}")
    return words[word]


def _word_converter(words: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda value: _word(words, value)


def _architecture(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UnknownValue("must be the name of a model")
    name = value.strip()
    if "/" in name:
        name = PurePath(name).name
    plain = re.sub(r"(?<=[a-z])(?=B\d$)", "_", name) if name.startswith("efficientnet") else name
    plain = plain.lower().replace("-", "_").replace(" ", "_")
    return _ARCHITECTURES.get(plain, plain if "." not in name else name)


def _image_size(value: Any) -> int:
    sides = re.split(r"\s*[x×,]\s*", value.strip("[]() ")) if isinstance(value, str) else value
    sides = sides if isinstance(sides, list | tuple) else [sides]
    numbers = {whole_number(side) for side in (sides[-2:] if len(sides) != 3 or sides[0] in (3, "3") else sides[:2])}
    if len(numbers) != 1 or None in numbers:
        raise UnknownValue("must be one side of a square, in pixels")
    return int(numbers.pop() or 0)


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UnknownValue("must be a path")
    if re.match(r"[a-z0-9]+://", value):
        raise UnknownValue("must be a path on this machine")
    return value.strip()


def _checkpoint(value: Any) -> str:
    path = _path(value)
    if path.lower() in ("none", "null"):
        raise UnknownValue("names no file")
    return path


def _train_folder(value: Any) -> str:
    path = _path(value)
    if PurePath(path).name != "train":
        raise UnknownValue("must end in train/, beside val/")
    return path


def _epoch(value: Any) -> int:
    number = whole_number(value)
    if number is None:
        raise UnknownValue("must be a whole number, -1 for never")
    return number


def _number(value: Any) -> float | int:
    """Return a number as it is, or as read from a quoted text; TrialConfig checks its range."""
    whole = whole_number(value)
    if whole is not None:
        return whole
    try:
        return float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        raise UnknownValue("must be a number") from None


def _number_or_off(value: Any) -> float | int | str:
    """Return a number; 0, which many tools use for off, becomes off."""
    number = _number(value)
    return "none" if number == 0 else number


def _class_weights(value: Any) -> bool:
    if isinstance(value, list | dict):
        raise UnknownValue("Thaw computes the weights from the counts: set balance: loss")
    return truth(value)


def _scheduler(value: Any) -> str:
    return str(_word(_SCHEDULERS, "none" if value is None else value))


_NUMBERS = (
    "epochs batch_size lr backbone_lr backbone_lr_factor weight_decay warmup_epochs focal_gamma label_smoothing "
    "random_erasing dropout drop_path patience min_delta seed classes"
)

CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_NUMBERS.split(), _number),
    "architecture": _architecture,
    "augmentation": _word_converter(_AUGMENTATIONS),
    "checkpoint": _checkpoint,
    "class_weights": _class_weights,
    "clip_norm": _number_or_off,
    "data.image_size": _image_size,
    "data.resize_mode": _word_converter(_RESIZE_MODES),
    "data.root": _path,
    "early_stopping": truth,
    "ema_decay": _number_or_off,
    "freeze": truth,
    "optimizer": _word_converter(_OPTIMIZERS),
    "pretrained": _word_converter(_PRETRAINED),
    "sampler": truth,
    "scheduler": _scheduler,
    "train_dir": _train_folder,
    "unfreeze_at": _epoch,
}
"""Functions from an old value to Thaw's value, by setting; raise UnknownValue where there is no counterpart."""


def _plain_name(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\s\-]+", "_", snake.strip()).lower()
