"""Architecture → the name and shape of every tensor of open_clip's `CLIP`, written out. Builds no model.

An inspection compares an untrusted file with this table, so it needs neither open_clip nor torchvision in the
process that reads hostile bytes. The tests hold the table against open_clip's own state dicts, entry by entry
and in order; `building.assemble` lets open_clip compare once more, before a model is used.
"""

from collections.abc import Iterator
from itertools import islice

from sanitizer.checkpoints.architecture import Architecture, VisionTower
from sanitizer.checkpoints.limits import MAX_TENSORS
from sanitizer.checkpoints.siglip_configs import PooledTransformer
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.timm_shapes import tensors_of
from sanitizer.checkpoints.tower_configs import Blocks, ModifiedResNet, TextTransformer, VisionTransformer

Shape = tuple[int, ...]
Entries = Iterator[tuple[str, Shape]]

_EXPANSION = 4  # a bottleneck's output is this many times as wide as its inside


def expected_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Key → shape of the state dict of this architecture, in open_clip's order.

    Of one with more than `MAX_TENSORS`, which no file that is read can fit, only the first of them.
    """
    entries = _text_apart(architecture) if architecture.has_text_apart else _clip(architecture)
    return dict(islice(entries, MAX_TENSORS + 1))


def _text_apart(architecture: Architecture) -> Entries:
    scale: Shape = (1,) if architecture.logit_scale_is_vector else ()
    yield "logit_scale", scale
    if architecture.logit_bias:
        yield "logit_bias", scale
    text, embed_dim = architecture.text, architecture.embed_dim
    yield from _vision(architecture.vision, embed_dim)
    yield "text.positional_embedding", (text.context_length, text.blocks.width)
    if text.projection == "matrix":
        yield "text.text_projection", (text.blocks.width, embed_dim)
    tower = dict(_text(text, embed_dim))
    table = "token_embedding.weight"
    for name in (table, *(name for name in tower if name != table)):
        yield f"text.{name}", tower[name]


def _vision(vision: VisionTower, embed_dim: int) -> Entries:
    match vision:
        case PooledTransformer():
            return _pooled(vision)
        case ModifiedResNet():
            return _resnet(vision, embed_dim)
        case VisionTransformer():
            return _vit(vision, embed_dim)
        case TimmTower():
            return iter(tensors_of(vision, embed_dim).items())


def _pooled(vision: PooledTransformer) -> Entries:
    width, mlp_width, patch = vision.blocks.width, vision.blocks.mlp_width, vision.patch_size
    side, trunk = vision.image_size // patch, "visual.trunk"
    yield f"{trunk}.pos_embed", (1, side * side, width)
    yield f"{trunk}.patch_embed.proj.weight", (width, 3, patch, patch)
    yield f"{trunk}.patch_embed.proj.bias", (width,)
    for index in range(vision.blocks.layers):
        block = f"{trunk}.blocks.{index}"
        yield from _affine(f"{block}.norm1", width)
        yield from _linear(f"{block}.attn.qkv", 3 * width, width)
        yield from _linear(f"{block}.attn.proj", width, width)
        yield from _affine(f"{block}.norm2", width)
        yield from _mlp(f"{block}.mlp", width, mlp_width)
    yield from _affine(f"{trunk}.norm", width)
    yield f"{trunk}.attn_pool.latent", (1, 1, width)
    yield from _linear(f"{trunk}.attn_pool.q", width, width)
    yield from _linear(f"{trunk}.attn_pool.kv", 2 * width, width)
    yield from _linear(f"{trunk}.attn_pool.proj", width, width)
    yield from _affine(f"{trunk}.attn_pool.norm", width)
    yield from _mlp(f"{trunk}.attn_pool.mlp", width, mlp_width)


def _mlp(name: str, width: int, mlp_width: int) -> Entries:
    yield from _linear(f"{name}.fc1", mlp_width, width)
    yield from _linear(f"{name}.fc2", width, mlp_width)


def _clip(architecture: Architecture) -> Entries:
    text, embed_dim = architecture.text, architecture.embed_dim
    width = text.blocks.width
    scale: Shape = (1,) if architecture.logit_scale_is_vector else ()
    yield "positional_embedding", (text.context_length, width)
    if text.projection == "matrix":
        yield "text_projection", (width, embed_dim)
    yield "logit_scale", scale
    if architecture.logit_bias:
        yield "logit_bias", scale
    yield from _vision(architecture.vision, embed_dim)
    yield from _text(text, embed_dim)


def _text(text: TextTransformer, embed_dim: int) -> Entries:
    width = text.blocks.width
    yield from _blocks("transformer.resblocks", text.blocks)
    yield "token_embedding.weight", (text.vocab_size, width)
    yield from _affine("ln_final", width)
    if text.projection == "linear":
        yield "text_projection.weight", (embed_dim, width)
        yield "text_projection.bias", (embed_dim,)


def _vit(vision: VisionTransformer, embed_dim: int) -> Entries:
    width, patch = vision.blocks.width, vision.patch_size
    side = vision.image_size // patch
    yield "visual.class_embedding", (width,)
    yield "visual.positional_embedding", (side * side + 1, width)
    yield "visual.proj", (width, embed_dim)
    yield "visual.conv1.weight", (width, 3, patch, patch)
    if vision.ln_pre:
        yield from _affine("visual.ln_pre", width)
    yield from _blocks("visual.transformer.resblocks", vision.blocks)
    yield from _affine("visual.ln_post", width)


def _blocks(stack: str, blocks: Blocks) -> Entries:
    for index in range(blocks.layers):
        yield from _block(f"{stack}.{index}", blocks)


def _block(name: str, blocks: Blocks) -> Entries:
    width, mlp_width = blocks.width, blocks.mlp_width
    yield from _affine(f"{name}.ln_1", width)
    yield f"{name}.attn.in_proj_weight", (3 * width, width)
    yield f"{name}.attn.in_proj_bias", (3 * width,)
    if blocks.scale_heads:
        yield f"{name}.attn.head_scale", (blocks.heads, 1, 1)
    if blocks.qk_norm:
        yield from _affine(f"{name}.attn.ln_q", width // blocks.heads)
        yield from _affine(f"{name}.attn.ln_k", width // blocks.heads)
    if blocks.scale_attn_inner:
        yield from _affine(f"{name}.attn.ln_inner", width)
    yield from _linear(f"{name}.attn.out_proj", width, width)
    if blocks.scale_attn:
        yield from _affine(f"{name}.ln_attn", width)
    if blocks.layer_scale:
        yield f"{name}.ls_1.gamma", (width,)
    yield from _affine(f"{name}.ln_2", width)
    yield from _linear(f"{name}.mlp.c_fc", mlp_width, width)
    if blocks.scale_fc:
        yield from _affine(f"{name}.mlp.ln", mlp_width)
    yield from _linear(f"{name}.mlp.c_proj", width, mlp_width)
    if blocks.layer_scale:
        yield f"{name}.ls_2.gamma", (width,)


def _resnet(vision: ModifiedResNet, embed_dim: int) -> Entries:
    half, width = vision.width // 2, vision.width
    for index, (out, inside) in enumerate(((half, 3), (half, half), (width, half)), start=1):
        yield f"visual.conv{index}.weight", (out, inside, 3, 3)
        yield from _batch_norm(f"visual.bn{index}", out)
    inside = width
    for stage, layers in enumerate(vision.layers):
        planes = width * 2**stage
        for index in range(max(1, layers)):  # open_clip builds a first bottleneck in any case
            name = f"visual.layer{stage + 1}.{index}"
            yield from _bottleneck(name, inside, planes, is_strided=stage > 0 and index == 0)
            inside = planes * _EXPANSION
    side, pooled = vision.image_size // 32, width * 32
    yield "visual.attnpool.positional_embedding", (side * side + 1, pooled)
    for projection in "kqv":
        yield from _linear(f"visual.attnpool.{projection}_proj", pooled, pooled)
    yield from _linear("visual.attnpool.c_proj", embed_dim, pooled)


def _bottleneck(name: str, inside: int, planes: int, *, is_strided: bool) -> Entries:
    out = planes * _EXPANSION
    for index, shape in enumerate(((planes, inside, 1, 1), (planes, planes, 3, 3), (out, planes, 1, 1)), 1):
        yield f"{name}.conv{index}.weight", shape
        yield from _batch_norm(f"{name}.bn{index}", shape[0])
    if is_strided or inside != out:
        yield f"{name}.downsample.0.weight", (out, inside, 1, 1)
        yield from _batch_norm(f"{name}.downsample.1", out)


def _linear(name: str, out: int, inside: int) -> Entries:
    yield f"{name}.weight", (out, inside)
    yield f"{name}.bias", (out,)


def _affine(name: str, width: int) -> Entries:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _batch_norm(name: str, width: int) -> Entries:
    yield from _affine(name, width)
    yield f"{name}.running_mean", (width,)
    yield f"{name}.running_var", (width,)
    yield f"{name}.num_batches_tracked", ()
