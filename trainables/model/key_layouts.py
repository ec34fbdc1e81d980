"""Key layouts of other libraries, mapped to timm's by rule: torchvision, transformers, and efficientnet_pytorch.

They name layers in the order in which they compute, as timm does. So the layers of a file and of the model are paired
in that order, for families whose layers are known to be the same, and each pair must hold the same tensors. Where the
library's BatchNorm adds another epsilon to the variance than timm's, the difference is added to the variances.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor, nn

from search_spaces.errors import InvalidInput

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Key layout of a library: a key that only it has, its layers in order, and the architectures of timm it fits."""

    library: str
    sign: str
    order: tuple[str, ...]
    """Patterns of the parts of names; a name is as far in the order as its parts are."""
    epsilons: Mapping[str, float]
    """Patterns of architectures, and the epsilon of the library's BatchNorm in each; none where timm has no equal."""
    advice: str
    """Remedy where the architecture is not that of the file."""


_NO_EQUAL = (
    "this MobileNet pads images as TensorFlow does, and none of timm does: take weights: pretrained, or save its "
    "state_dict() with torch.save and try weights_layout: by_order, which measures whether they help"
)
_LAYOUTS = (
    Layout(
        "torchvision",
        "features.0.0.weight",
        ("features", "classifier", "fc1", "fc2"),
        {
            r"efficientnet_b[0-4]": 1e-5,
            r"efficientnet_b[5-7]": 1e-3,
            r"efficientnetv2_[sml]": 1e-3,
            r"mobilenetv2_\d+": 1e-5,
            r"mobilenetv3_(large|small)_\d+": 1e-3,
        },
        "set architecture to that model, such as mobilenetv3_large_100 or efficientnet_b0 (not tf_...)",
    ),
    Layout(
        "transformers",
        "resnet.embedder.embedder.convolution.weight",
        (
            *("resnet", "embedder", "encoder", "stages", "layers", "layer", "shortcut"),
            *("convolution", "normalization", "classifier"),
        ),
        {r"resnet(18|26|34|50|101|152)": 1e-5},
        "set architecture to that model, such as resnet50",
    ),
    Layout(
        "transformers",
        "efficientnet.embeddings.convolution.weight",
        (
            *("efficientnet", "embeddings", "convolution", "batchnorm", "encoder", "blocks"),
            *("expansion", "expand_conv", "expand_bn"),
            *("depthwise_conv", "depthwise_norm"),
            *("squeeze_excite", "reduce", "expand"),
            *("projection", "project_conv", "project_bn"),
            *("top_conv", "top_bn", "classifier"),
        ),
        {r"tf_efficientnet_b\d": 1e-3},
        "set architecture to that model, such as tf_efficientnet_b0 (efficientnet_b0 pads images otherwise)",
    ),
    *(
        Layout("transformers", sign, (), {}, _NO_EQUAL)
        for sign in (
            "mobilenet_v1.conv_stem.convolution.weight",
            "mobilenet_v2.conv_stem.first_conv.convolution.weight",
        )
    ),
    Layout(
        "efficientnet_pytorch",
        "_conv_stem.weight",
        (
            "_conv_stem",
            "_expand_conv",
            "_bn0",
            "_blocks",
            "_depthwise_conv",
            "_conv_head",
            "_bn1",
            "_se_reduce",
            "_se_expand",
            "_project_conv",
            "_bn2",
            "_fc",
        ),
        {r"tf_efficientnet_b\d": 1e-3},
        "set architecture to that model, such as tf_efficientnet_b0 (efficientnet_b0 pads images otherwise)",
    ),
)
_VGG = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}


def in_timm_layout(tensors: Tensors, model: nn.Module, architecture: str, source: str) -> tuple[Tensors, str | None]:
    """Return the tensors under timm's names, and the library whose layout they had; None where they are as they were.

    Raises InvalidInput, naming `source`, for the layout of a library whose model the architecture is not.
    """
    own = model.state_dict()
    name = architecture.split(".")[0]
    if "classifier.0.weight" in tensors and "pre_logits.fc1.weight" in own:
        return _renamed(tensors, own, _VGG), "torchvision"
    layout, prefix = _found(tensors, own)
    if layout is None:
        return tensors, None
    tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    epsilon = next((value for pattern, value in layout.epsilons.items() if re.fullmatch(pattern, name)), None)
    names = None if epsilon is None else _paired(tensors, own, layout)
    if epsilon is None or names is None:
        raise InvalidInput(
            f"weights must fit the architecture {architecture}, got {source}, in the key layout of {layout.library}, "
            f"of a model that is not this one; {layout.advice}, or convert the file to timm's keys"
        )
    mapped = _renamed(tensors, own, names)
    for layer, module in model.named_modules():
        variance = mapped.get(f"{layer}.running_var")
        if variance is not None and isinstance(module, nn.BatchNorm2d) and module.eps != epsilon:
            mapped[f"{layer}.running_var"] = variance + (epsilon - module.eps)
    return mapped, layout.library


def _found(tensors: Tensors, own: Mapping[str, Tensor]) -> tuple[Layout | None, str]:
    """Return the layout whose sign the keys bear, and the prefix before it, such as that of a wrapper."""
    for layout in _LAYOUTS:
        for key in tensors:
            prefix = key.removesuffix(layout.sign)
            if prefix != key and key not in own and (not prefix or prefix.endswith(".")):
                return layout, prefix
    return None, ""


def _paired(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], layout: Layout) -> dict[str, str] | None:
    """Pair the layers of a file and of the model in order; None where two that meet hold different tensors."""
    theirs, ours = _layers(tensors), _layers(own)
    pairs = list(zip_longest(sorted(theirs, key=lambda layer: _place(layer, layout.order)), ours))
    for number, (their, our) in enumerate(pairs):
        if their is None or our is None or not theirs[their].keys() <= ours[our].keys():
            return None
        is_head = number == len(pairs) - 1
        if not is_head and any(theirs[their][key].numel() != ours[our][key].numel() for key in theirs[their]):
            return None
    return dict(pairs)


def _layers(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group tensors by the layer that holds them, in their order."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, key = name.rpartition(".")
        layers.setdefault(layer, {})[key] = tensor
    return layers


def _place(layer: str, order: tuple[str, ...]) -> list[int]:
    """Return the place of a layer: by number where its parts are numbers, and by `order` where they are names."""
    return [int(part) if part.isdecimal() else order.index(part) if part in order else -1 for part in layer.split(".")]


def _renamed(tensors: Tensors, own: Mapping[str, Tensor], layers: Mapping[str, str]) -> Tensors:
    """Return the tensors under other names of their layers; a linear layer is brought to the shape of a convolution."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        layer, _, key = name.rpartition(".")
        target = f"{layers.get(layer, layer)}.{key}"
        wanted = own.get(target)
        is_linear = wanted is not None and tensor.ndim == 2 and wanted.ndim == 4 and tensor.numel() == wanted.numel()
        renamed[target] = tensor.reshape(wanted.shape) if wanted is not None and is_linear else tensor
    return renamed
