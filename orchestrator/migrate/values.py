"""Values of old configurations: Thaw's names and numbers for them, by setting."""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from orchestrator.migrate.freezing import whole_number

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
_OPTIMIZERS = {
    "adam": "adam",
    **dict.fromkeys(("adamw", "adamwtorch", "adamwtorchfused", "adamwhf"), "adamw"),
    **dict.fromkeys(("sgd", "sgdmomentum", "momentum", "nesterov"), "sgd"),
}
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
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0", "none"), False),
}
_FREEZE = {**_SWITCH, **dict.fromkeys(("backbone", "encoder", "features", "base", "body", "allbuthead"), True)}
_CLASS_WEIGHTS = {**_SWITCH, **dict.fromkeys(("balanced", "auto", "inverse"), True)}
_SAMPLERS = {
    **_SWITCH,
    **dict.fromkeys(("weighted", "weightedrandom", "weightedrandomsampler", "balanced", "classbalanced"), True),
    **dict.fromkeys(("random", "randomsampler", "sequential", "sequentialsampler", "default"), False),
    **dict.fromkeys(("distributed", "distributedsampler"), False),
}
_LOSSES = {
    **dict.fromkeys(("crossentropy", "crossentropyloss", "ce", "celoss", "categoricalcrossentropy"), "cross_entropy"),
    **dict.fromkeys(("focal", "focalloss"), "focal"),
    **dict.fromkeys(("weightedcrossentropy", "weightedcrossentropyloss", "weightedce", "weightedloss"), "weighted"),
}
_STRATEGIES = {
    **dict.fromkeys(("head", "headonly", "classifier", "classifieronly", "linear", "linearprobe"), "head"),
    **dict.fromkeys(("linearprobing", "featureextraction", "featureextractor", "frozen"), "head"),
    **dict.fromkeys(("full", "all", "fullfinetune", "fullfinetuning", "endtoend"), "full"),
    **{name: name for name in ("partial", "progressive", "gradual")},
}
_FILE = re.compile(r".*(/|\\|\.(pth|pt|ckpt|bin|tar|safetensors|onnx|h5)$)", re.IGNORECASE)


class UnknownValue(Exception):
    """UnknownValue: a value that has no counterpart in Thaw; the message gives the reason, where there is one."""


def truth(value: Any) -> bool:
    """Read a switch: true, yes, on; false, no, off."""
    return bool(_word(_SWITCH, value))


def _word(words: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list | dict):
        raise UnknownValue("must be one word")
    word = re.sub(r"[^a-z0-9]", "", str(value).lower())
    if word not in words:
        valid = sorted({str(meant) for meant in words.values()})
        raise UnknownValue("must be true or false" if "True" in valid else f"Thaw has {', '.join(valid)}")
    return words[word]


def _word_converter(words: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda value: _word(words, value)


def _class_name(words: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return a converter of words that may be written as a class with its module, such as `torch.optim.SGD`."""
    return lambda value: _word(words, value.rpartition(".")[2] if isinstance(value, str) else value)


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
    return bool(_word(_CLASS_WEIGHTS, value))


def _scheduler(value: Any) -> str:
    return str(_class_name(_SCHEDULERS)("none" if value is None else value))


def _weights(value: Any) -> str:
    """Return pretrained, none or the path of a file; torchvision writes `ResNet50_Weights.IMAGENET1K_V2`.

    An empty value is returned as an empty text: it loads nothing, unless another key names weights.
    """
    if value is None:
        return ""
    if isinstance(value, str) and _FILE.fullmatch(value.strip()):
        return _path(value)
    return str(_word(_PRETRAINED, re.sub(r"^\w+_Weights\.", "", value.strip()) if isinstance(value, str) else value))


def _whole(value: Any, lowest: int) -> int:
    number = whole_number(value)
    if number is None or number < lowest:
        raise UnknownValue(f"must be a whole number from {lowest}")
    return number


def _layers(value: Any) -> str:
    """Return names of layers, with commas between them; empty for none of them."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    names = [] if isinstance(names, int | float) and not isinstance(names, bool) and names == 0 else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UnknownValue("must be names of layers: a number of layers is not one of stages")
    return ",".join(name.strip() for name in names)


def _mixing(value: Any) -> float | bool:
    """Return the alpha of mixup or cutmix; true and false switch it."""
    try:
        return truth(value) if isinstance(value, bool | str) else _number(value)
    except UnknownValue:
        return _number(value)


_NUMBERS = (
    "epochs batch_size lr head_lr backbone_lr backbone_lr_factor weight_decay warmup_epochs focal_gamma "
    "label_smoothing random_erasing dropout drop_path patience min_delta seed classes"
)
_SWITCHES = "early_stopping ema focal no_augmentation channels_last sync_batchnorm thawed"

CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_NUMBERS.split(), _number),
    **dict.fromkeys(_SWITCHES.split(), truth),
    **dict.fromkeys(("layers", "frozen_layers"), _layers),
    **dict.fromkeys(("mixup", "cutmix"), _mixing),
    **dict.fromkeys(("clip_norm", "ema_decay"), _number_or_off),
    **dict.fromkeys(("data.root", "data.name"), _path),
    **dict.fromkeys(("pretrained", "weights_choice"), _weights),
    "architecture": _architecture,
    "augmentation": _word_converter(_AUGMENTATIONS),
    "checkpoint": _checkpoint,
    "class_weights": _class_weights,
    "clip_mode": lambda value: "norm" if value in (None, "norm") else "other",
    "data.image_size": _image_size,
    "data.resize_mode": _word_converter(_RESIZE_MODES),
    "freeze": _word_converter(_FREEZE),
    "freeze_at": lambda value: _whole(value, 0),
    "frozen_epochs": lambda value: _whole(value, 0),
    "frozen_stages": lambda value: _whole(value, -1),
    "loss": _class_name(_LOSSES),
    "norm_stats": lambda value: "frozen" if truth(value) else "batch",
    "optimizer": _class_name(_OPTIMIZERS),
    "sampler": _class_name(_SAMPLERS),
    "scheduler": _scheduler,
    "strategy": _word_converter(_STRATEGIES),
    "thawed_stages": lambda value: _whole(value, 0),
    "train_dir": _train_folder,
    "unfreeze_at": _epoch,
}
"""Functions from an old value to Thaw's value, by setting; raise UnknownValue where there is no counterpart."""
