"""Losses and distances of embeddings, as pure functions of tensors.

Legend: N pairs of the (whole, gathered) batch, D embedding width.

Embeddings are unit rows. `logit_scale` is the multiplier itself (exp of CLIP's parameter, 1/tau in the
papers). Half-precision inputs are computed in float32; float64 stays float64.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _logits(anchor_ND: Tensor, candidate_ND: Tensor, logit_scale: Tensor) -> Tensor:
    anchor_ND, candidate_ND = _at_least_float32(anchor_ND), _at_least_float32(candidate_ND)
    return logit_scale.to(anchor_ND.dtype) * (anchor_ND @ candidate_ND.T)


def _match_on_diagonal(logits_NN: Tensor) -> Tensor:
    return cross_entropy(logits_NN, torch.arange(len(logits_NN), device=logits_NN.device))


def matching(anchor_ND: Tensor, candidate_ND: Tensor, logit_scale: Tensor) -> Tensor:
    """InfoNCE in one direction: -1/N sum_j log( exp(s<a_j,c_j>) / sum_k exp(s<a_j,c_k>) ). A scalar."""
    return _match_on_diagonal(_logits(anchor_ND, candidate_ND, logit_scale))


def contrastive(a_ND: Tensor, b_ND: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's symmetric loss (Radford et al. 2021, fig. 3): the mean of `matching` in both directions."""
    logits_NN = _logits(a_ND, b_ND, logit_scale)
    return (_match_on_diagonal(logits_NN) + _match_on_diagonal(logits_NN.T)) / 2


def classification(image_ND: Tensor, label_N: Tensor, class_CD: Tensor, logit_scale: Tensor) -> Tensor:
    """-1/N sum_j log( exp(s<a_j,w_label>) / sum_c exp(s<a_j,w_c>) ), over C classes. A scalar."""
    return cross_entropy(_logits(image_ND, class_CD.to(image_ND.dtype), logit_scale), label_N)


def mean_squared_distance(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """1/N sum_j |a_j - b_j|^2, not divided by D: in [0, 4] between unit rows. A scalar."""
    return (_at_least_float32(a_ND) - _at_least_float32(b_ND)).square().sum(dim=1).mean()


def mean_cosine_distance(a_ND: Tensor, b_ND: Tensor) -> Tensor:
    """1/N sum_j (1 - <a_j, b_j>): in [0, 2] between unit rows. A scalar."""
    return (1 - (_at_least_float32(a_ND) * _at_least_float32(b_ND)).sum(dim=1)).mean()
