"""Hugging Face's `CLIPModel` and open_clip's `CLIP`: two sets of names for the same tensors.

Query, key and value are three tensors there and one (stacked by rows) here; the two projections are
`Linear` weights there and are multiplied from the right here, hence transposed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.rejection import refusal

WORD_TABLE = "text_model.embeddings.token_embedding.weight"
POSITION_IDS = re.compile(r"(text|vision)_model\.embeddings\.position_ids")

_FIXED = {
    "logit_scale": "logit_scale",
    WORD_TABLE: "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    # The misspelling is theirs.
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
_IN_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_THIRDS = ("q_proj", "k_proj", "v_proj")
_BLOCK = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d{1,4})\.(.+)\.(weight|bias)")
_STACKS = {"text": "transformer.resblocks", "vision": "visual.transformer.resblocks"}


@dataclass(frozen=True)
class Place:
    """Where a Hugging Face tensor goes: canonical name, which third of its rows, transposed or not."""

    source: str
    third: int | None = None
    transpose: bool = False


def place_of(name: str) -> Place | None:
    """The place of the Hugging Face tensor `name` in open_clip's state dict; None if it has none."""
    if name in _FIXED:
        return Place(_FIXED[name])
    if name in _TRANSPOSED:
        return Place(_TRANSPOSED[name], transpose=True)
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    tower, index, inner, kind = match.groups()
    stack = f"{_STACKS[tower]}.{index}"
    if inner in _IN_BLOCK:
        return Place(f"{stack}.{_IN_BLOCK[inner]}.{kind}")
    projection = inner.removeprefix("self_attn.")
    if inner.startswith("self_attn.") and projection in _THIRDS:
        return Place(f"{stack}.attn.in_proj_{kind}", third=_THIRDS.index(projection))
    return None


def huggingface_origin(name: str, dtype: str, shape: tuple[int, ...]) -> Origin:
    """The origin of one `CLIPModel` tensor. Raises CheckpointRejected 'not_a_clip' for a foreign name."""
    place = place_of(name)
    if place is None:
        raise refusal(
            "not_a_clip",
            f"'{name}' is not a tensor of Hugging Face's CLIPModel.",
            "Upload a CLIPModel without additional heads or adapters.",
            where=name,
        )
    if place.transpose and len(shape) != 2:
        raise refusal(
            "tensor_shape_invalid", f"'{name}' is not a matrix.", "Upload the model unmodified.", where=name
        )
    return Origin(name=name, dtype=dtype, shape=shape, **vars(place))
