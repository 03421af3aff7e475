"""Tensors → which CLIP. Looks at names and shapes only (and, for one table of positions, at its values).

The result is a proposal: `writing.check_state_dict` compares every key and shape with those of open_clip's
model of that architecture, so nothing that is read wrongly here passes. Shapes are hostile: no tensor is
assumed to have the dimensions that it should.

The fixed two-dimensional table of positions that open_clip builds for `pos_embed_type: sin_cos_2d`.

The same numbers as `open_clip.pos_embed.get_2d_sincos_pos_embed`, bit for bit (a test compares them), without
importing open_clip. Source: He et al., "Masked autoencoders are scalable vision learners", 2022, its code.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.published import Published, published
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.architecture import (
    CLIP_TOKENIZER,
    OPENAI_MEAN,
    OPENAI_STD,
    SIGLIP_CONSTANTS,
    Architecture,
)
from sanitizer.checkpoints.choices import Choices, contradiction
from sanitizer.checkpoints.naming import OWN_TABLE
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.siglip_inference import infer_siglip, is_siglip
from sanitizer.checkpoints.tensor_shapes import (
    Shapes,
    check_context,
    count_layers,
    default_heads,
    dividing_heads,
    image_size_of,
    logit_scale_is_vector,
    open_clip_blocks,
    shape_of,
    side_of,
    square_patch,
)
from sanitizer.checkpoints.timm_inference import FoundTower, find_tower
from sanitizer.checkpoints.tower_configs import (
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


_CONSTANTS = {
    "openai": (OPENAI_MEAN, OPENAI_STD),
    "half": (SIGLIP_CONSTANTS, SIGLIP_CONSTANTS),
    "zero": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
CLIP_VOCABULARY = 49408
CLIP_END_TOKEN = 49407
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
_KNOWN_TEXT_HEADS = {(1152, 27): 16}
"""Of ViTamin-XL's."""
_Usual = tuple[Any, str]
"""A value, and why it is usual."""


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
    'eos_id_not_in_tokenizer', 'scaled_cosine_attention', 'timm_tower'.
    """
    choices = Choices(declared, dict(sources or {}))
    if is_siglip(tensors):
        return infer_siglip(tensors, choices, layout=layout), choices.assumed
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    is_apart = OWN_TABLE in shapes
    named = "text." if is_apart else ""
    embed_dim = _embed_dim(shapes, named)
    found = find_tower(shapes, choices, embed_dim=embed_dim, named=named)
    architecture = Architecture(
        embed_dim=embed_dim,
        vision=_vision(shapes, choices) if found is None else found.tower,
        text=_text(shapes, choices, named, found),
        text_apart=is_apart,
        quick_gelu=False,
        gelu_tanh=choices.pick("gelu_tanh", False, phrases.EXACT_GELU),
        logit_scale_is_vector=logit_scale_is_vector(shapes),
        logit_bias="logit_bias" in shapes,
        tokenizer=choices.pick("tokenizer", CLIP_TOKENIZER, phrases.BYTE_PAIRS),
    )
    constants, mode, quick = _prepared(architecture, layout, found)
    mean, std = _CONSTANTS[constants[0]]
    architecture = replace(
        architecture,
        quick_gelu=choices.pick("quick_gelu", *quick),
        image_mean=choices.pick("image_mean", mean, constants[1]),
        image_std=choices.pick("image_std", std, constants[1]),
        resize_mode=choices.pick("resize_mode", *mode),
    )
    if architecture.tokenizer != CLIP_TOKENIZER:
        raise contradiction("tokenizer", "a model of open_clip's class CLIP has CLIP's byte pairs")
    if architecture.quick_gelu and architecture.gelu_tanh:
        raise contradiction("gelu_tanh", "QuickGELU has no tanh form")
    return architecture, choices.assumed


def _prepared(
    architecture: Architecture, layout: str, tower: FoundTower | None
) -> tuple[_Usual, _Usual, _Usual]:
    """The constants, the resizing and the activation of most such models, each with why."""
    if tower is not None:
        entry, why = tower.entry, tower.why
        return (entry.constants, why), (entry.resize_mode, why), (False, phrases.GELU_OF_TIMM)
    # The other layouts are written by one library each, whose own default is better than what others publish.
    found = published(architecture.to_config()["model_cfg"]) if layout == "open_clip" else None
    return (
        _usual(found, "constants", "openai", phrases.OPENAIS_CONSTANTS),
        _usual(found, "resize_mode", "shortest", phrases.SHORTER_SIDE),
        _usual(found, "quick_gelu", *_FAMILIES[layout]),
    )


def _usual(entry: Published | None, option: str, default: Any, why: str) -> tuple[Any, str]:
    """What all published weights of this shape have and why, or `default` and which have another."""
    if entry is None or not entry.weights:
        return default, why
    common = entry.common(option)
    if common is not None:
        return common, phrases.AS_RELEASED(entry=entry.entry)
    return default, phrases.RELEASED_BOTH(entry=entry.entry, names=entry.without(option, default))


def _vision(shapes: Shapes, choices: Choices) -> VisionTransformer | ModifiedResNet:
    if "visual.layer1.0.conv1.weight" in shapes:
        return _resnet(shapes, choices)
    width, patch_size = square_patch(shapes, "visual.conv1.weight")
    positions = "visual.positional_embedding"
    side = side_of(shape_of(shapes, positions, 2)[0], positions)
    return VisionTransformer(
        blocks=open_clip_blocks(
            shapes, "visual.transformer.resblocks", width, "vision", choices, known_heads=_KNOWN_HEADS
        ),
        patch_size=patch_size,
        image_size=image_size_of(side, patch_size, choices),
        ln_pre="visual.ln_pre.weight" in shapes,
        pool=choices.pick("vision_pool", "tok", phrases.BY_CLASS),
        final_ln_after_pool=choices.pick("vision_final_ln_after_pool", False, phrases.OPEN_CLIPS_DEFAULT),
    )


def _resnet(shapes: Shapes, choices: Choices) -> ModifiedResNet:
    width = shape_of(shapes, "visual.layer1.0.conv1.weight", 4)[0]
    positions = "visual.attnpool.positional_embedding"
    side = side_of(shape_of(shapes, positions, 2)[0], positions)
    first, second, third, fourth = (count_layers(shapes, f"visual.layer{stage}") for stage in (1, 2, 3, 4))
    heads = default_heads(width * 32, "num_heads_vision", choices)
    return ModifiedResNet(
        layers=(first, second, third, fourth),
        width=width,
        heads=dividing_heads(heads, width * 32, "num_heads_vision"),
        image_size=image_size_of(side, 32, choices),
    )


def _embed_dim(shapes: Shapes, named: str) -> int:
    """Of both towers, by what the text tower ends with. `named`: how the names of its tensors begin."""
    if f"{named}text_projection" in shapes:
        return shape_of(shapes, f"{named}text_projection", 2)[1]
    if f"{named}text_projection.weight" in shapes:
        return shape_of(shapes, f"{named}text_projection.weight", 2)[0]
    return shape_of(shapes, f"{named}token_embedding.weight", 2)[1]


def _text(shapes: Shapes, choices: Choices, named: str, beside: FoundTower | None) -> TextTransformer:
    """`beside`: the image tower, where it is one of timm's."""
    vocab_size, width = shape_of(shapes, f"{named}token_embedding.weight", 2)
    context_length = shape_of(shapes, f"{named}positional_embedding", 2)[0]
    _check_tokenizer(vocab_size, context_length)
    projection: TextProjection = "none"
    if f"{named}text_projection" in shapes:
        projection = "matrix"
    elif f"{named}text_projection.weight" in shapes:
        projection = "linear"
    pool: TextPool = choices.pick("text_pool", "argmax", phrases.BY_HIGHEST)
    eos_id = choices.pick("text_eos_id", CLIP_END_TOKEN, phrases.BY_END) if pool == "eos" else 2
    if pool == "eos" and eos_id != CLIP_END_TOKEN:
        raise refusal(
            "eos_id_not_in_tokenizer",
            f"The model looks for end token {eos_id}; CLIP's tokenizer ends texts with {CLIP_END_TOKEN}.",
            "Only models that use CLIP's own tokenizer are supported.",
            where="text_eos_id",
        )
    causal = (True, phrases.CAUSAL)
    if beside is not None:
        causal = (beside.entry.text_causal, beside.why)
    stack = f"{named}transformer.resblocks"
    return TextTransformer(
        blocks=open_clip_blocks(shapes, stack, width, "text", choices, known_heads=_KNOWN_TEXT_HEADS),
        context_length=context_length,
        vocab_size=vocab_size,
        projection=projection,
        pool=pool,
        eos_id=eos_id,
        causal=choices.pick("text_causal", *causal),
    )


def _check_tokenizer(vocab_size: int, context_length: int) -> None:
    if vocab_size < CLIP_VOCABULARY:
        raise refusal(
            "vocabulary_too_small",
            f"The model knows {vocab_size} tokens; CLIP's tokenizer has {CLIP_VOCABULARY}.",
            "Only models that use CLIP's own byte-pair tokenizer are supported, and SigLIPs: no CLIPA.",
            where="token_embedding.weight",
        )
    check_context(context_length)


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
