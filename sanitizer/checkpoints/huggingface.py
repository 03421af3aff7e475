"""Hugging Face's `CLIPModel` and open_clip's `CLIP`: two sets of names for the same tensors. Names only.

Query, key and value are three tensors there and one (stacked by rows) here; the two projections are
`Linear` weights there and are multiplied from the right here, hence transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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


def names_for(canonical: Mapping[str, object]) -> dict[str, Place]:
    """Hugging Face name → place, for all tensors of a plain ViT CLIP given its canonical names."""
    places: dict[str, Place] = {name: Place(source) for name, source in _FIXED.items() if source in canonical}
    places |= {n: Place(s, transpose=True) for n, s in _TRANSPOSED.items() if s in canonical}
    inner = {theirs: ours for ours, theirs in _IN_BLOCK.items()}
    for source in canonical:
        for tower, stack in _STACKS.items():
            if not source.startswith(stack + "."):
                continue
            index, rest = source.removeprefix(stack + ".").split(".", 1)
            layer = f"{tower}_model.encoder.layers.{index}"
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for third, projection in enumerate(_THIRDS):
                    places[f"{layer}.self_attn.{projection}.{kind}"] = Place(source, third=third)
            else:
                module, kind = rest.rsplit(".", 1)
                if module in inner:
                    places[f"{layer}.{inner[module]}.{kind}"] = Place(source)
    return places
