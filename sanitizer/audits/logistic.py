"""Multinomial logistic regression by L-BFGS, in float64, with a gradient that is written out.

Shapes: N images, C classes, D embedding width, E = D + 1 with the bias.

Minimised is the mean over images of -log softmax(W x + b)[label], plus |W|^2 / (2 c N), scikit-learn's
objective divided by c N. It is convex: the start (zeros) decides nothing but the way. The images are gone
through in chunks, so that no matrix of all images and all classes is ever made: beside the embeddings, which
are kept in float32, a fit holds about 25 times C x E numbers and three chunks of `ROWS_AT_ONCE` x C.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.attacks.trigger import widest_float

ROWS_AT_ONCE = 4096
TOLERANCE = 1e-6
"""Converged is a fit whose largest component of the gradient is not over it."""
_HISTORY = 10


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """`weight_CE` has the bias in its last column."""

    weight_CE: Tensor
    num_iterations: int
    is_converged: bool

    def logits(self, image_ND: Tensor) -> Tensor:
        """[N, C]"""
        return image_ND.to(self.weight_CE.dtype) @ self.weight_CE[:, :-1].T + self.weight_CE[:, -1]


def fit(
    image_ND: Tensor,
    label_N: Tensor,
    *,
    num_classes: int,
    c: float,
    max_iterations: int,
    before_pass: Callable[[], None] = lambda: None,
) -> Fitted:
    """Of one image at least; all tensors on one device. What `before_pass` raises passes through."""
    # Tensors made for inference cannot be changed by an optimiser.
    with torch.inference_mode(mode=False), torch.no_grad():
        weight_CE = torch.zeros(
            num_classes, image_ND.shape[1] + 1, dtype=widest_float(image_ND.device), device=image_ND.device
        )
        optimiser = torch.optim.LBFGS(
            [weight_CE],
            max_iter=max_iterations,
            max_eval=2 * max_iterations,
            tolerance_grad=TOLERANCE,
            tolerance_change=0.0,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            before_pass()
            loss, weight_CE.grad = loss_and_gradient(weight_CE, image_ND, label_N, c=c)
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        _, gradient_CE = loss_and_gradient(weight_CE, image_ND, label_N, c=c)
    return Fitted(
        weight_CE=weight_CE.detach(),
        num_iterations=int(optimiser.state[weight_CE]["n_iter"]),
        is_converged=bool(gradient_CE.abs().max() <= TOLERANCE),
    )


def loss_and_gradient(
    weight_CE: Tensor, image_ND: Tensor, label_N: Tensor, *, c: float
) -> tuple[Tensor, Tensor]:
    """The objective, and its gradient [C, E]."""
    num_images = len(image_ND)
    weight_CD, bias_C = weight_CE[:, :-1], weight_CE[:, -1]
    loss = weight_CD.square().sum() / (2 * c)
    gradient_CE = torch.zeros_like(weight_CE)
    gradient_CE[:, :-1] = weight_CD / c
    for start in range(0, num_images, ROWS_AT_ONCE):
        image_MD = image_ND[start : start + ROWS_AT_ONCE].to(weight_CE.dtype)
        label_M1 = label_N[start : start + ROWS_AT_ONCE, None]
        log_share_MC = torch.log_softmax(image_MD @ weight_CD.T + bias_C, dim=1)
        loss = loss - log_share_MC.gather(1, label_M1).sum()
        error_MC = log_share_MC.exp()
        error_MC.scatter_add_(1, label_M1, torch.full_like(label_M1, -1, dtype=error_MC.dtype))
        gradient_CE[:, :-1] += error_MC.T @ image_MD
        gradient_CE[:, -1] += error_MC.sum(dim=0)
    return loss / num_images, gradient_CE / num_images
