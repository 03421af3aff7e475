"""The text tower's forward pass without its padding.

CLIP's text tower is causal and reads its result at the end-of-text token, so nothing after that token can
reach the result: the padding is cut off before the tower instead of being carried through it. Captions
fill a fifth of CLIP's 77 places, so this is most of the text tower's work. open_clip's own forward is the
reference (tests/numerics/test_training_step.py).

Legend: N texts, L context length, K the longest text of the batch, W width, D embedding width.
"""

import torch
from open_clip.model import CLIP
from torch import Tensor, nn


def cut_padding(model: CLIP, tokens_NL: Tensor) -> Tensor:
    """Without the columns after the last end-of-text token (the highest id of its row): [N, K].

    Texts for a model that is not read at that token, or is not causal, come back whole.
    """
    if not isinstance(model, CLIP):  # a SigLIP reads the last place, padding or not
        return tokens_NL
    reads_at_end = model.text_pool_type == "argmax" and isinstance(model.text_projection, nn.Parameter)
    if not reads_at_end or model.attn_mask is None:
        return tokens_NL
    return tokens_NL[:, : int(tokens_NL.argmax(dim=-1).max()) + 1]


def encode_text(model: CLIP, tokens_NK: Tensor) -> Tensor:
    """Text features [N, D], not normalised, equal to open_clip's `encode_text` of the padded texts.

    `tokens_NK` may be cut by `cut_padding`.
    """
    num_places = tokens_NK.shape[1]
    if num_places == model.context_length:
        whole: Tensor = model.encode_text(tokens_NK)
        return whole
    x_NKW = model.token_embedding(tokens_NK) + model.positional_embedding[:num_places]
    x_NKW = model.transformer(x_NKW, attn_mask=model.attn_mask[:num_places, :num_places])
    x_NKW = model.ln_final(x_NKW)
    rows = torch.arange(len(x_NKW), device=x_NKW.device)
    features: Tensor = x_NKW[rows, tokens_NK.argmax(dim=-1)] @ model.text_projection
    return features
