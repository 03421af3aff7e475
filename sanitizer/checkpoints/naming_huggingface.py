"""Hugging Face's `CLIPModel` and `SiglipModel` against open_clip's classes: two names for the same tensor.

Query, key and value are three tensors there and one (stacked by rows) here. A CLIP's two projections are
`Linear` weights there and are multiplied from the right here, hence transposed. In a SigLIP's pooling it is
the other way round: one tensor there holds what are a query's and a key and value's here; and its positions
have an axis in front here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.tensor_shapes import shape_of

WORD_TABLE = "text_model.embeddings.token_embedding.weight"
POSITION_IDS = re.compile(r"(text|vision)_model\.embeddings\.position_ids")

FIXED = {
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
TRANSPOSED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
IN_BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
THIRDS = ("q_proj", "k_proj", "v_proj")
_SIGLIP_FIXED = {
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
    WORD_TABLE: "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.trunk.pos_embed",
    "vision_model.head.probe": "visual.trunk.attn_pool.latent",
}
_SIGLIP_MODULES = {
    "text_model.final_layer_norm": "text.ln_final",
    "text_model.head": "text.text_projection",
    "vision_model.embeddings.patch_embedding": "visual.trunk.patch_embed.proj",
    "vision_model.post_layernorm": "visual.trunk.norm",
    "vision_model.head.attention.out_proj": "visual.trunk.attn_pool.proj",
    "vision_model.head.layernorm": "visual.trunk.attn_pool.norm",
    "vision_model.head.mlp.fc1": "visual.trunk.attn_pool.mlp.fc1",
    "vision_model.head.mlp.fc2": "visual.trunk.attn_pool.mlp.fc2",
}
"""Each with a weight and a bias."""
_IN_TIMM_BLOCK = {
    "self_attn.out_proj": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_POOLING = re.compile(r"vision_model\.head\.attention\.in_proj_(weight|bias)")
_MODULE = re.compile(r"(.+)\.(weight|bias)")
_BLOCK = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d{1,4})\.(.+)\.(weight|bias)")
STACKS = {"text": "transformer.resblocks", "vision": "visual.transformer.resblocks"}


@dataclass(frozen=True)
class Place:
    """Where a Hugging Face tensor goes; fields as `Origin` has them."""

    source: str
    third: int | None = None
    transpose: bool = False
    below: str | None = None
    leading_axis: bool = False


def place_of(name: str) -> Place | None:
    """The place of the Hugging Face tensor `name` in open_clip's state dict; None if it has none."""
    if name in FIXED:
        return Place(FIXED[name])
    if name in TRANSPOSED:
        return Place(TRANSPOSED[name], transpose=True)
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    tower, index, inner, kind = match.groups()
    return _in_block(f"{STACKS[tower]}.{index}", inner, kind, IN_BLOCK, f"attn.in_proj_{kind}")


def _in_block(block: str, inner: str, kind: str, modules: Mapping[str, str], joined: str) -> Place | None:
    """Of `inner`'s weight or bias in a block. `joined`: where its query, key and value are one tensor."""
    if inner in modules:
        return Place(f"{block}.{modules[inner]}.{kind}")
    projection = inner.removeprefix("self_attn.")
    if inner.startswith("self_attn.") and projection in THIRDS:
        return Place(f"{block}.{joined}", third=THIRDS.index(projection))
    return None


def siglip_place_of(name: str) -> Place | None:
    """As `place_of`, for a `SiglipModel` and open_clip's SigLIPs."""
    if name in _SIGLIP_FIXED:
        source = _SIGLIP_FIXED[name]
        return Place(source, leading_axis=source == "visual.trunk.pos_embed")
    if match := _POOLING.fullmatch(name):
        pool = "visual.trunk.attn_pool"
        return Place(f"{pool}.q.{match[1]}", below=f"{pool}.kv.{match[1]}")
    if (match := _MODULE.fullmatch(name)) and match[1] in _SIGLIP_MODULES:
        return Place(f"{_SIGLIP_MODULES[match[1]]}.{match[2]}")
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    tower, index, inner, kind = match.groups()
    if tower == "text":
        place = place_of(name)
        return None if place is None else replace(place, source=f"text.{place.source}")
    return _in_block(f"visual.trunk.blocks.{index}", inner, kind, _IN_TIMM_BLOCK, f"attn.qkv.{kind}")


def huggingface_origin(name: str, dtype: str, shape: tuple[int, ...], *, is_siglip: bool) -> Origin:
    """The origin of one tensor. Raises CheckpointRejected 'not_a_clip' for a foreign name."""
    place = siglip_place_of(name) if is_siglip else place_of(name)
    if place is None:
        raise refusal(
            "not_a_clip",
            f"'{name}' is not a tensor of Hugging Face's CLIPModel or SiglipModel.",
            "Upload such a model without additional heads or adapters.",
            where=name,
        )
    if place.transpose:
        shape_of({name: shape}, name, 2)
    return Origin(name=name, dtype=dtype, shape=shape, **vars(place))
