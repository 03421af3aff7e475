"""AdamW over a CLIP: which parameters decay, and the moments by name.

The optimizer is always fresh: moments in an uploaded file were shaped by the poisoned data, are
attacker-controlled, and are never read (docs/decisions/0011).

AdamW on the token table, at the cost of the rows whose tokens have occurred.

Of CLIP's 49,408 tokens a set of captions holds a few thousand. A row that has never occurred has zero
moments, so all that AdamW does to it is decay: update t multiplies it by 1 - rate_t * weight_decay. Here that
product is kept as one number, and a row is multiplied by it when its token first occurs, or at the end. From
then on the row is updated in every step, with or without a gradient, as the dense algorithm does. The result
is AdamW's, but that one rounding of a product stands for many: nothing is approximated.

Until `finish`, rows that have not occurred lie in the model as they came in; that, the product and the rows
in their order of appearance are part of a training state, so a resumed run makes the same updates to the last
bit.

Shapes: V rows of the table, A of them that have occurred, U unique rows of one batch, W their width.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.optim import AdamW

from cleanclip.vocabulary.recipe import Recipe


class TokenTable:
    """The moments of `table` and its update; gradients are to be sparse while it is in use."""

    def __init__(
        self, table: nn.Embedding, *, betas: tuple[float, float], epsilon: float, weight_decay: float
    ) -> None:
        self._table, self.weight = table, table.weight
        self._betas, self._epsilon, self._weight_decay = betas, epsilon, weight_decay
        num_rows, width = self.weight.shape
        self._rows_A = torch.zeros(0, dtype=torch.int64)
        self._place_V = torch.full((num_rows,), -1, dtype=torch.int64)
        self._mean_AW = self.weight.new_zeros(0, width)
        self._square_AW = self.weight.new_zeros(0, width)
        self._decay = 1.0
        self._num_updates = 0
        table.sparse = True

    @torch.no_grad()
    def expect(self, tokens: Tensor) -> None:
        """To be called before these tokens are embedded: rows that are new catch up with their decay."""
        is_new = self._place_V[tokens] < 0
        if not is_new.any():
            return
        new = tokens[is_new].unique()  # type: ignore[no-untyped-call]
        self.weight[new] *= self._decay
        self._place_V[new] = torch.arange(len(self._rows_A), len(self._rows_A) + len(new))
        self._rows_A = torch.cat([self._rows_A, new])
        zeros = self.weight.new_zeros(len(new), self.weight.shape[1])
        self._mean_AW = torch.cat([self._mean_AW, zeros])
        self._square_AW = torch.cat([self._square_AW, zeros])

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update by the sparse gradient of the table, if there is one."""
        if self.weight.grad is None:
            return
        gradient = self.weight.grad.coalesce()
        self._num_updates += 1
        beta1, beta2 = self._betas
        place_U, value_UW = self._place_V[gradient.indices()[0]], gradient.values()
        self._mean_AW.mul_(beta1).index_add_(0, place_U, value_UW, alpha=1 - beta1)
        self._square_AW.mul_(beta2).index_add_(0, place_U, value_UW.square(), alpha=1 - beta2)
        correction1, correction2 = (1 - beta**self._num_updates for beta in self._betas)
        root_AW = self._square_AW.sqrt().div_(math.sqrt(correction2)).add_(self._epsilon)
        factor = 1 - learning_rate * self._weight_decay
        row_AW = self.weight[self._rows_A].mul_(factor)
        row_AW.addcdiv_(self._mean_AW, root_AW, value=-learning_rate / correction1)
        self.weight[self._rows_A] = row_AW
        self._decay *= factor

    @torch.no_grad()
    def finish(self) -> None:
        """Let the rows that never occurred catch up; the table is an ordinary one afterwards."""
        self.weight[self._place_V < 0] *= self._decay
        self._decay = 1.0
        self._table.sparse = False

    def export(self) -> dict[str, Tensor]:
        """All that it knows, in dtypes that a training state can hold."""
        return {
            "rows": self._rows_A,
            "exp_avg": self._mean_AW,
            "exp_avg_sq": self._square_AW,
            "step": torch.tensor(self._num_updates),
            "decay": torch.tensor(self._decay, dtype=torch.float64).view(torch.int64),
        }

    def restore(self, known: Mapping[str, Tensor]) -> None:
        """The inverse of `export`; also from the moments of a dense AdamW, whose rows have all decayed."""
        self._num_updates = int(known["step"])
        if "rows" in known:
            self._rows_A, self._decay = known["rows"].clone(), known["decay"].view(torch.float64).item()
            self._mean_AW, self._square_AW = known["exp_avg"].clone(), known["exp_avg_sq"].clone()
        else:
            self._rows_A = known["exp_avg_sq"].any(dim=1).nonzero()[:, 0]
            self._mean_AW, self._square_AW = (known[n][self._rows_A] for n in ("exp_avg", "exp_avg_sq"))
            self._decay = 1.0
        self._place_V.fill_(-1)
        self._place_V[self._rows_A] = torch.arange(len(self._rows_A))


@torch.no_grad()
def made_dense(weight: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `TokenTable.export` gave as moments of a dense AdamW; `weight` catches up in place."""
    rows_A = known["rows"].to(weight.device)
    never_V = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    never_V[rows_A] = False
    weight[never_V] *= known["decay"].view(torch.float64).item()
    dense = {"step": known["step"].to(torch.float32)}
    for moment in ("exp_avg", "exp_avg_sq"):
        dense[moment] = torch.zeros_like(weight).index_copy_(0, rows_A, known[moment].to(weight.device))
    return dense


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


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients so that their common norm is `max_norm` at most; returns the norm before.

    A sparse gradient takes part with the rows that it holds.
    """
    parts = []
    for parameter in parameters:
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
