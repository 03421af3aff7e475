"""AdamW over a CLIP: which parameters decay, and the moments by name. Knows no schedule and no loss.

The optimizer is always fresh: moments in an uploaded file were shaped by the poisoned data, are
attacker-controlled, and are never read (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sanitizer.recipe import Recipe


def decays(parameter: nn.Parameter) -> bool:
    """Weight decay is for matrices and kernels; biases, norms and logit scale have fewer axes."""
    return parameter.ndim >= 2


def build(model: nn.Module, recipe: Recipe) -> AdamW:
    """AdamW on all trainable parameters of `model`, with decay on those that `decays` names.

    Fused: one exact, dense pass over each tensor, on CPU too, where the token table's update dominates
    a small model's step.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if decays(p)], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if not decays(p)], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=trainable[0].device.type in ("cpu", "cuda", "mps"),
    )


def set_rate(optimizer: AdamW, learning_rate: float) -> None:
    """The rate of the next update, for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def export_moments(optimizer: AdamW, model: nn.Module) -> dict[str, Tensor]:
    """`<moment>:<parameter name>` → tensor, for every parameter that has been updated."""
    return {
        f"{moment}:{name}": tensor
        for name, parameter in model.named_parameters()
        for moment, tensor in optimizer.state.get(parameter, {}).items()
    }


def import_moments(optimizer: AdamW, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """The inverse of `export_moments`. Raises KeyError if a name is not a parameter of `model`."""
    parameters = dict(model.named_parameters())
    for key, tensor in moments.items():
        moment, name = key.split(":", 1)
        parameter = parameters[name]
        # In the parameter's own memory format: the fused kernel wants equal strides.
        like = tensor if moment == "step" else parameter
        fresh = torch.empty_like(like, device=parameter.device, requires_grad=False)
        optimizer.state[parameter][moment] = fresh.copy_(tensor)
