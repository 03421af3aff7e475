"""Tensors → which CLIP. Looks at names and shapes only (and, for one table of positions, at its values).

The result is a proposal: `writing.check_state_dict` compares every key and shape with those of open_clip's
model of that architecture, so nothing that is read wrongly here passes. Shapes are hostile: no tensor is
assumed to have the dimensions that it should.

The fixed two-dimensional table of positions that open_clip builds for `pos_embed_type: sin_cos_2d`.

The same numbers as `open_clip.pos_embed.get_2d_sincos_pos_embed`, bit for bit (a test compares them), without
importing open_clip. Source: He et al., "Masked autoencoders are scalable vision learners", 2022, its code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cleanclip.spec import inspection_phrases as phrases
from cleanclip.spec.recipe import MAX_IMAGE_SIZE, DeclaredOptions
from sanitizer.checkpoints.architecture import OPENAI_MEAN, OPENAI_STD, Architecture
from sanitizer.checkpoints.choices import Choices, contradiction
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.tower_configs import (
    DEFAULT_NORM_EPS,
    Blocks,
    ModifiedResNet,
    TextPool,
    TextProjection,
    TextTransformer,
    VisionTransformer,
)

_LONGEST_PERIOD = 10_000


def sin_cos_2d(width: int, side: int) -> NDArray[np.float64]:
    """[1 + side * side, width]: a row of zeros for the class token, then the cells row by row."""
    cells = np.arange(side, dtype=np.float32)
    column_SS, row_SS = np.meshgrid(cells, cells)
    table = np.concatenate([_sin_cos(width // 2, column_SS), _sin_cos(width // 2, row_SS)], axis=1)
    return np.concatenate([np.zeros([1, width]), table], axis=0)


def _sin_cos(width: int, position: NDArray[np.float32]) -> NDArray[np.float64]:
    frequency = np.arange(width // 2, dtype=float)
    frequency /= width / 2.0
    frequency = 1.0 / _LONGEST_PERIOD**frequency
    angle = np.einsum("m,d->md", position.reshape(-1), frequency)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


CLIP_VOCABULARY = 49408
CLIP_END_TOKEN = 49407
MAX_CONTEXT = 8192  # the causal mask has this many rows and columns
_MAX_TABLE = 50_000_000  # elements of a table of positions that is looked at
_FAMILIES = {
    "openai_torchscript": (True, phrases.QUICK_GELU_OF_OPENAI),
    "huggingface": (True, phrases.QUICK_GELU_OF_HUGGING_FACE),
    "research": (True, phrases.QUICK_GELU_OF_RESEARCH),
    "openai": (True, phrases.QUICK_GELU_OF_OPENAI),
    "open_clip": (False, phrases.QUICK_GELU_OF_OPEN_CLIP),
}
# Published image towers whose heads are not 64 wide, (width, layers) → heads: ViT-H, g, bigG, e.
_KNOWN_HEADS = {(1280, 32): 16, (1408, 40): 16, (1664, 48): 16, (1792, 56): 16}
_DECLARE_HEADS = "Declare the number of attention heads that the model was trained with."


def infer(
    tensors: Mapping[str, Tensor],
    *,
    declared: DeclaredOptions,
    layout: str,
    sources: Mapping[str, str] | None = None,
) -> tuple[Architecture, dict[str, str]]:
    """The architecture of canonical `tensors` (real or on the meta device), and why each option is as it is.

    `layout`: a key of the families above. `sources`: options in `declared` that a configuration file gave.
    Raises CheckpointRejected: 'tensor_missing', 'tensor_shape_invalid', 'image_not_square',
    'patch_not_square', 'heads_undeclared', 'heads_do_not_divide', 'option_contradicts_tensors',
    'image_size_out_of_range', 'vocabulary_too_small', 'context_length_out_of_range',
    'eos_id_not_in_tokenizer', 'scaled_cosine_attention'.
    """
    choices = Choices(declared, dict(sources or {}))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    quick_gelu, why = _FAMILIES[layout]
    text, embed_dim = _text(shapes, choices)
    architecture = Architecture(
        embed_dim=embed_dim,
        vision=_vision(shapes, choices),
        text=text,
        quick_gelu=choices.pick("quick_gelu", quick_gelu, why),
        gelu_tanh=choices.pick("gelu_tanh", False, phrases.EXACT_GELU),
        logit_scale_is_vector=_logit_scale_is_vector(shapes),
        logit_bias="logit_bias" in shapes,
        image_mean=choices.pick("image_mean", OPENAI_MEAN, phrases.OPENAIS_CONSTANTS),
        image_std=choices.pick("image_std", OPENAI_STD, phrases.OPENAIS_CONSTANTS),
        tokenizer=choices.pick("tokenizer", "clip_bpe", phrases.BYTE_PAIRS),
    )
    if architecture.quick_gelu and architecture.gelu_tanh:
        raise contradiction("gelu_tanh", "QuickGELU has no tanh form")
    return architecture, choices.assumed


Shapes = Mapping[str, tuple[int, ...]]


def _shape(shapes: Shapes, name: str, num_dims: int) -> tuple[int, ...]:
    if name not in shapes:
        raise refusal(
            "tensor_missing",
            f"A CLIP has a tensor '{name}'; this file has none.",
            "Upload the complete state dict.",
            where=name,
        )
    if len(shapes[name]) != num_dims:
        raise refusal(
            "tensor_shape_invalid",
            f"'{name}' has {len(shapes[name])} dimensions where a CLIP has {num_dims}.",
            "Upload the model unmodified.",
            where=name,
        )
    return shapes[name]


def _logit_scale_is_vector(shapes: Shapes) -> bool:
    if shapes.get("logit_scale") == (1,):
        return True
    _shape(shapes, "logit_scale", 0)
    return False


def _count(shapes: Shapes, stack: str) -> int:
    pattern = re.compile(re.escape(stack) + r"\.(\d{1,4})\..*")
    indices = {match[1] for name in shapes if (match := pattern.fullmatch(name))}
    return len(indices)


def _blocks(shapes: Shapes, stack: str, width: int, tower: str, choices: Choices) -> Blocks:
    first = f"{stack}.0"
    if f"{first}.attn.logit_scale" in shapes:
        raise refusal(
            "scaled_cosine_attention",
            "The model uses scaled cosine attention, which open_clip can build but not run.",
            "There is no way to run this model with open_clip 3.",
            where=f"{first}.attn.logit_scale",
        )
    mlp_width = _shape(shapes, f"{first}.mlp.c_fc.weight", 2)[0]
    layers = _count(shapes, stack)
    return Blocks(
        width=width,
        layers=layers,
        heads=_heads(shapes, stack, width, f"num_heads_{tower}", choices),
        mlp_width=mlp_width,
        layer_scale=f"{first}.ls_1.gamma" in shapes,
        qk_norm=f"{first}.attn.ln_q.weight" in shapes,
        scale_heads=f"{first}.attn.head_scale" in shapes,
        scale_attn_inner=f"{first}.attn.ln_inner.weight" in shapes,
        scale_attn=f"{first}.ln_attn.weight" in shapes,
        scale_fc=f"{first}.mlp.ln.weight" in shapes,
        norm_eps=choices.pick(f"norm_eps_{tower}", DEFAULT_NORM_EPS, phrases.PYTORCHS_EPSILON),
    )


def _heads(shapes: Shapes, stack: str, width: int, option: str, choices: Choices) -> int:
    scale, norm = f"{stack}.0.attn.head_scale", f"{stack}.0.attn.ln_q.weight"
    is_vision = option == "num_heads_vision"
    known = _KNOWN_HEADS.get((width, _count(shapes, stack))) if is_vision else None
    if scale in shapes:
        heads = choices.from_tensors(option, _shape(shapes, scale, 3)[0], phrases.SCALED_HEADS)
    elif norm in shapes:
        head_width = max(1, _shape(shapes, norm, 1)[0])
        heads = choices.from_tensors(option, width // head_width, phrases.NORMED_QUERIES)
    elif known is not None:
        heads = choices.pick(option, known, phrases.PUBLISHED_TOWER)
    else:
        heads = _default_heads(width, option, choices)
    return _dividing(heads, width, option)


def _default_heads(width: int, option: str, choices: Choices) -> int:
    if getattr(choices.declared, option) is None and width % 64:
        raise refusal(
            "heads_undeclared",
            f"Width {width} is not a multiple of 64, so the number of heads cannot be assumed.",
            f"{_DECLARE_HEADS} The option is {option}.",
            where=option,
        )
    return choices.pick(option, width // 64, phrases.WIDTH_OVER_64)


def _dividing(heads: int, width: int, option: str) -> int:
    if heads < 1 or width % heads:
        raise refusal(
            "heads_do_not_divide", f"{heads} heads do not divide width {width}.", _DECLARE_HEADS, where=option
        )
    return heads


def _side(positions: int, where: str) -> int:
    side = math.isqrt(max(0, positions - 1))
    if side < 1 or side * side != positions - 1:
        raise refusal(
            "image_not_square",
            f"'{where}' has {positions} positions, which is not a square grid and one more.",
            "Only models for square images are supported.",
            where=where,
        )
    return side


def _image_size(side: int, step: int, choices: Choices) -> int:
    image_size = choices.pick("image_size", side * step, phrases.CELLS(side=side, also=side, step=step))
    if image_size // step != side:
        raise contradiction("image_size", f"{image_size} px are not {side} cells of {step} px")
    if image_size > MAX_IMAGE_SIZE:  # one that is declared has this bound already
        raise refusal(
            "image_size_out_of_range",
            f"The model reads images of {image_size} px a side; at most {MAX_IMAGE_SIZE} px are supported.",
            "Upload a model for smaller images.",
            where="visual.positional_embedding",
        )
    return image_size


def _vision(shapes: Shapes, choices: Choices) -> VisionTransformer | ModifiedResNet:
    if "visual.layer1.0.conv1.weight" in shapes:
        return _resnet(shapes, choices)
    width, _, patch_height, patch_width = _shape(shapes, "visual.conv1.weight", 4)
    if patch_height != patch_width:
        raise refusal(
            "patch_not_square",
            f"Patches are {patch_height} x {patch_width} pixels.",
            "Only models with square patches are supported.",
            where="visual.conv1.weight",
        )
    side = _side(_shape(shapes, "visual.positional_embedding", 2)[0], "visual.positional_embedding")
    return VisionTransformer(
        blocks=_blocks(shapes, "visual.transformer.resblocks", width, "vision", choices),
        patch_size=patch_width,
        image_size=_image_size(side, patch_width, choices),
        ln_pre="visual.ln_pre.weight" in shapes,
        pool=choices.pick("vision_pool", "tok", phrases.BY_CLASS),
        final_ln_after_pool=choices.pick("vision_final_ln_after_pool", False, phrases.OPEN_CLIPS_DEFAULT),
    )


def _resnet(shapes: Shapes, choices: Choices) -> ModifiedResNet:
    width = _shape(shapes, "visual.layer1.0.conv1.weight", 4)[0]
    positions = "visual.attnpool.positional_embedding"
    side = _side(_shape(shapes, positions, 2)[0], positions)
    first, second, third, fourth = (_count(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4))
    heads = _default_heads(width * 32, "num_heads_vision", choices)
    return ModifiedResNet(
        layers=(first, second, third, fourth),
        width=width,
        heads=_dividing(heads, width * 32, "num_heads_vision"),
        image_size=_image_size(side, 32, choices),
    )


def _text(shapes: Shapes, choices: Choices) -> tuple[TextTransformer, int]:
    vocab_size, width = _shape(shapes, "token_embedding.weight", 2)
    context_length = _shape(shapes, "positional_embedding", 2)[0]
    _check_tokenizer(vocab_size, context_length)
    projection: TextProjection = "none"
    embed_dim = width
    if "text_projection" in shapes:
        projection, embed_dim = "matrix", _shape(shapes, "text_projection", 2)[1]
    elif "text_projection.weight" in shapes:
        projection, embed_dim = "linear", _shape(shapes, "text_projection.weight", 2)[0]
    pool: TextPool = choices.pick("text_pool", "argmax", phrases.BY_HIGHEST)
    eos_id = choices.pick("text_eos_id", CLIP_END_TOKEN, phrases.BY_END) if pool == "eos" else 2
    if pool == "eos" and eos_id != CLIP_END_TOKEN:
        raise refusal(
            "eos_id_not_in_tokenizer",
            f"The model looks for end token {eos_id}; CLIP's tokenizer ends texts with {CLIP_END_TOKEN}.",
            "Only models that use CLIP's own tokenizer are supported.",
            where="text_eos_id",
        )
    text = TextTransformer(
        blocks=_blocks(shapes, "transformer.resblocks", width, "text", choices),
        context_length=context_length,
        vocab_size=vocab_size,
        projection=projection,
        pool=pool,
        eos_id=eos_id,
        causal=choices.pick("text_causal", True, phrases.CAUSAL),
    )
    return text, embed_dim


def _check_tokenizer(vocab_size: int, context_length: int) -> None:
    if vocab_size < CLIP_VOCABULARY:
        raise refusal(
            "vocabulary_too_small",
            f"The model knows {vocab_size} tokens; CLIP's tokenizer has {CLIP_VOCABULARY}.",
            "Only models that use CLIP's own byte-pair tokenizer are supported.",
            where="token_embedding.weight",
        )
    if not 3 <= context_length <= MAX_CONTEXT:
        raise refusal(
            "context_length_out_of_range",
            f"The model reads {context_length} tokens at once.",
            f"Upload a model that reads 3 (a start, a word, an end) to {MAX_CONTEXT} tokens.",
            where="positional_embedding",
        )


def with_position_table(architecture: Architecture, positions: Tensor) -> Architecture:
    """`architecture` with 'sin_cos_2d' where `positions` [1 + cells, width] is exactly that fixed table.

    open_clip keeps such a table frozen in training; only its values tell it from a learnt one.
    """
    vision = architecture.vision
    if not isinstance(vision, VisionTransformer) or vision.blocks.width % 4:
        return architecture
    if positions.numel() > _MAX_TABLE:
        return architecture
    side = vision.image_size // vision.patch_size
    table = torch.from_numpy(sin_cos_2d(vision.blocks.width, side)).float()
    if positions.shape != table.shape or not torch.equal(positions, table.to(positions.dtype)):
        return architecture
    return replace(architecture, vision=replace(vision, position_table="sin_cos_2d"))


def family_of(layout: str, *, is_openai: bool) -> str:
    """Which defaults a layout has: open_clip's names with OpenAI's three integers are OpenAI's."""
    return "openai" if is_openai and layout == "open_clip" else layout
