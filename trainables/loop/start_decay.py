"""Weight decay towards the weights that a stage thawed with, instead of towards zero.

L2-SP: Li, Grandvalet & Davoine, arXiv 1802.01483. It keeps fine-tuning near the pretrained weights.
"""

from typing import Any

import torch
from torch import Tensor, nn


class StartDecay:
    """Pull of parameters towards their start, before each step of an optimizer.

    In AdamW it is decoupled from the gradient, as that optimizer's own decay is; in the others it is a part of the
    gradient, as theirs is.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._starts: dict[nn.Parameter, tuple[Tensor, float]] = {}
        self._decoupled = isinstance(optimizer, torch.optim.AdamW)
        optimizer.register_step_pre_hook(self._pull)

    def take_over(self, group: dict[str, Any]) -> None:
        """Take over the decay of a parameter group: from now on it pulls towards the weights of this moment."""
        rate, group["weight_decay"] = group["weight_decay"], 0.0
        if rate:
            self._starts.update({parameter: (parameter.detach().clone(), rate) for parameter in group["params"]})

    @torch.no_grad()
    def _pull(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # A fused optimizer gets the gradients as fp16's scaler made them, and divides them itself.
        scale = getattr(optimizer, "grad_scale", None)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter not in self._starts or parameter.grad is None:
                    continue
                start, rate = self._starts[parameter]
                if self._decoupled:
                    parameter.lerp_(start, group["lr"] * rate)
                else:
                    pull = (parameter - start) * rate
                    parameter.grad.add_(pull if scale is None else pull * scale)
