"""AdamW over a CLIP: which parameters decay, and the moments by name. Knows no schedule and no loss.

The optimizer is always fresh: moments in an uploaded file were shaped by the poisoned data, are
attacker-controlled, and are never read (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.optim import AdamW

from cleanclip.spec.recipe import Recipe
from sanitizer.training.token_table import TokenTable, made_dense


class ClipAdamW(AdamW):
    """AdamW, but for a token table that is kept apart where one is given (`TokenTable`)."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, table: TokenTable | None, **options: Any) -> None:
        super().__init__(groups, **options)
        self.table = table

    def expect(self, *tokens: Tensor | None) -> None:
        """To be called before a step's texts are embedded."""
        for some in tokens:
            if self.table is not None and some is not None:
                self.table.expect(some)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        if self.table is not None:
            self.table.weight.grad = None

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        if self.table is not None:
            self.table.step(self.param_groups[0]["lr"])
        return loss

    def finish(self) -> None:
        """After the last update: the weights are final then."""
        if self.table is not None:
            self.table.finish()


def is_decayed(parameter: nn.Parameter) -> bool:
    """Weight decay is for matrices and kernels; biases, norms and logit scale have fewer axes."""
    return parameter.ndim >= 2


def build(model: CLIP, recipe: Recipe, *, keeps_table_apart: bool = False) -> ClipAdamW:
    """AdamW on all trainable parameters of `model`, with decay on those that `is_decayed` names.

    Fused: one exact, dense pass over each tensor, on CPU too. `keeps_table_apart`: the token table, on a CPU
    and in one process, is updated in the rows that have occurred (`TokenTable`), with the same result.
    """
    table = None
    if keeps_table_apart and model.token_embedding.weight.requires_grad:
        table = TokenTable(
            model.token_embedding,
            betas=(recipe.beta1, recipe.beta2),
            epsilon=recipe.epsilon,
            weight_decay=recipe.weight_decay,
        )
    apart = None if table is None else table.weight
    trainable = [p for p in model.parameters() if p.requires_grad and p is not apart]
    groups = [
        {"params": [p for p in trainable if is_decayed(p)], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trainable if not is_decayed(p)], "weight_decay": 0.0},
    ]
    return ClipAdamW(
        [group for group in groups if group["params"]],
        table=table,
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=trainable[0].device.type in ("cpu", "cuda", "mps"),
    )


def set_rate(optimizer: AdamW, learning_rate: float) -> None:
    """The rate of the next update, for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def clip_gradients(model: nn.Module, max_norm: float) -> Tensor:
    """Scale all gradients so that their common norm is `max_norm` at most; returns the norm before.

    A sparse gradient takes part with the rows that it holds.
    """
    parts = []
    for parameter in model.parameters():
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            rows = parameter.grad.values()
            part = rows.detach()
            part.grad = rows  # the same memory: what scales it scales the parameter's gradient
            parts.append(part)
        else:
            parts.append(parameter)
    return nn.utils.clip_grad_norm_(parts, max_norm)


def export_moments(optimizer: ClipAdamW, model: nn.Module) -> dict[str, Tensor]:
    """`<moment>:<parameter name>` → tensor, for every parameter that has been updated."""
    moments: dict[str, Tensor] = {}
    table = optimizer.table
    for name, parameter in model.named_parameters():
        if table is not None and parameter is table.weight:
            known: Mapping[str, Tensor] = table.export()
        else:
            known = optimizer.state.get(parameter, {})
        moments |= {f"{moment}:{name}": tensor for moment, tensor in known.items()}
    return moments


def import_moments(optimizer: ClipAdamW, model: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """The inverse of `export_moments`, whether the token table was kept apart there, is here, or not.

    Raises KeyError if a name is not a parameter of `model`.
    """
    parameters = dict(model.named_parameters())
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        moment, name = key.split(":", 1)
        by_parameter.setdefault(name, {})[moment] = tensor
    for name, known in by_parameter.items():
        parameter = parameters[name]
        if optimizer.table is not None and parameter is optimizer.table.weight:
            optimizer.table.restore(known)
            continue
        for moment, tensor in (made_dense(parameter, known) if "rows" in known else known).items():
            # In the parameter's own memory format: the fused kernel wants equal strides.
            like = tensor if moment == "step" else parameter
            fresh = torch.empty_like(like, device=parameter.device, requires_grad=False)
            optimizer.state[parameter][moment] = fresh.copy_(tensor)
