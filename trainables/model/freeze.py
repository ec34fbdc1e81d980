"""Freezing a model: which parameters get gradients, which modules stay in eval mode, and what cannot change then."""

from collections.abc import Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from hashlib import sha256

import torch
from torch import Tensor, nn

from trainables.config import NormStats


def set_trainable(model: nn.Module, names: AbstractSet[str]) -> None:
    """Give gradients to exactly the parameters in `names`.

    A frozen prefix builds no autograd graph: its inputs and parameters need no gradient, so it runs as under no_grad.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
        if name not in names:
            parameter.grad = None


def set_train_mode(model: nn.Module, norm_stats: NormStats = "batch") -> None:
    """Train mode, with every module whose parameters are all frozen in eval mode.

    Frozen BatchNorm then keeps its statistics and frozen dropout is off. Most scripts leave frozen BatchNorm in train
    mode, which lets the statistics drift away from the weights that were trained with them. With `norm_stats: frozen`
    no layer of the model changes its statistics, or uses those of a batch: its scales and shifts train all the same
    (as https://keras.io/guides/transfer_learning advises for fine-tuning).
    """
    model.train()
    _eval_frozen(model)
    if norm_stats == "frozen":
        for module in model.modules():
            if any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False)):
                module.training = False  # its own mode alone: timm's BatchNorm holds the activation and its dropout


def changing_names(model: nn.Module, norm_stats: NormStats = "batch") -> frozenset[str]:
    """Return the names in `model.state_dict()` that training can change, frozen as the model is now.

    They are the parameters with gradients, under each of their names, and the buffers of modules in train mode, such as
    the statistics of a thawed BatchNorm. The model is left in train mode.
    """
    set_train_mode(model, norm_stats)
    parameters = model.named_parameters(remove_duplicate=False)
    found = {name for name, parameter in parameters if parameter.requires_grad}
    for prefix, module in model.named_modules(remove_duplicate=False):
        if module.training:
            found.update(name for name, _ in module.named_buffers(prefix, recurse=False))
    return frozenset(found.intersection(model.state_dict()))


def frozen_digest(
    state: Mapping[str, Tensor], changed: AbstractSet[str], known: MutableMapping[str, str]
) -> str | None:
    """Return the SHA-256 (hex digits) of the part of a model's state that is not `changed`; None: all of it is.

    It is that of names, types, shapes and bytes, in the order of the names. `known` holds the digests of tensors that
    need not be read again; those that are read are added.
    """
    digest, frozen = sha256(), sorted(state.keys() - changed)
    for name in frozen:
        tensor = state[name]
        label = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        if label not in known:
            plain = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
            known[label] = sha256(plain.numpy().data).hexdigest()
        digest.update(f"{label} {known[label]}\n".encode())
    return digest.hexdigest() if frozen else None


def _eval_frozen(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _eval_frozen(child)
