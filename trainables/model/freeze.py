"""Freezing a model: which parameters get gradients, and which modules stay in eval mode while the rest trains."""

from collections.abc import Set as AbstractSet

from torch import nn

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


def _eval_frozen(module: nn.Module) -> None:
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _eval_frozen(child)
