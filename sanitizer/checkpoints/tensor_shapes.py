"""What the shapes of a model's tensors say, one question at a time; hostile shapes are refused.

No tensor is assumed to have the dimensions that it should. Files and whole models: see `inference`.
"""

import math
import re
from collections.abc import Mapping

from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.recipe import MAX_IMAGE_SIZE
from sanitizer.checkpoints.choices import Choices, contradiction
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.tower_configs import DEFAULT_NORM_EPS, Blocks

Shapes = Mapping[str, tuple[int, ...]]
Heads = Mapping[tuple[int, int], int]
"""Of published towers: (width, layers) → heads, where a head is not 64 wide."""

MAX_CONTEXT = 8192  # the causal mask has this many rows and columns
_DECLARE_HEADS = "Declare the number of attention heads that the model was trained with."


def shape_of(shapes: Shapes, name: str, num_dims: int) -> tuple[int, ...]:
    """Raises CheckpointRejected 'tensor_missing', 'tensor_shape_invalid'."""
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


def logit_scale_is_vector(shapes: Shapes) -> bool:
    """Whether it has one axis, of length one, and not none."""
    if shapes.get("logit_scale") == (1,):
        return True
    shape_of(shapes, "logit_scale", 0)
    return False


def count_layers(shapes: Shapes, stack: str) -> int:
    """How many numbers stand behind the name of a stack."""
    pattern = re.compile(re.escape(stack) + r"\.(\d{1,4})\..*")
    indices = {match[1] for name in shapes if (match := pattern.fullmatch(name))}
    return len(indices)


def open_clip_blocks(
    shapes: Shapes,
    stack: str,
    width: int,
    tower: str,
    choices: Choices,
    *,
    known_heads: Heads,
    norm_eps: float = DEFAULT_NORM_EPS,
) -> Blocks:
    """A stack of open_clip's own residual blocks. `tower`: 'vision' or 'text'."""
    first = f"{stack}.0"
    if f"{first}.attn.logit_scale" in shapes:
        raise refusal(
            "scaled_cosine_attention",
            "The model uses scaled cosine attention, which open_clip can build but not run.",
            "There is no way to run this model with open_clip 3.",
            where=f"{first}.attn.logit_scale",
        )
    mlp_width = shape_of(shapes, f"{first}.mlp.c_fc.weight", 2)[0]
    return Blocks(
        width=width,
        layers=count_layers(shapes, stack),
        heads=heads_of(shapes, stack, width, tower, choices, known_heads=known_heads),
        mlp_width=mlp_width,
        layer_scale=f"{first}.ls_1.gamma" in shapes,
        qk_norm=f"{first}.attn.ln_q.weight" in shapes,
        scale_heads=f"{first}.attn.head_scale" in shapes,
        scale_attn_inner=f"{first}.attn.ln_inner.weight" in shapes,
        scale_attn=f"{first}.ln_attn.weight" in shapes,
        scale_fc=f"{first}.mlp.ln.weight" in shapes,
        norm_eps=norm_eps_of(tower, norm_eps, choices),
    )


def norm_eps_of(tower: str, usual: float, choices: Choices) -> float:
    """Of a tower's layer norms: the declared one, else the usual one."""
    why = phrases.PYTORCHS_EPSILON if usual == DEFAULT_NORM_EPS else phrases.EVERY_SIGLIP
    return choices.pick(f"norm_eps_{tower}", usual, why)


def heads_of(
    shapes: Shapes, stack: str, width: int, tower: str, choices: Choices, *, known_heads: Heads
) -> int:
    """Raises CheckpointRejected 'heads_undeclared', 'heads_do_not_divide', 'option_contradicts_tensors'."""
    option = f"num_heads_{tower}"
    scale, norm = f"{stack}.0.attn.head_scale", f"{stack}.0.attn.ln_q.weight"
    known = known_heads.get((width, count_layers(shapes, stack)))
    if scale in shapes:
        heads = choices.from_tensors(option, shape_of(shapes, scale, 3)[0], phrases.SCALED_HEADS)
    elif norm in shapes:
        head_width = max(1, shape_of(shapes, norm, 1)[0])
        heads = choices.from_tensors(option, width // head_width, phrases.NORMED_QUERIES)
    elif known is not None:
        heads = choices.pick(option, known, phrases.PUBLISHED_TOWER)
    else:
        heads = default_heads(width, option, choices)
    return dividing_heads(heads, width, option)


def default_heads(width: int, option: str, choices: Choices) -> int:
    """One for each 64 of the width, unless another number is declared."""
    if getattr(choices.declared, option) is None and width % 64:
        raise refusal(
            "heads_undeclared",
            f"Width {width} is not a multiple of 64, so the number of heads cannot be assumed.",
            f"{_DECLARE_HEADS} The option is {option}.",
            where=option,
        )
    return choices.pick(option, width // 64, phrases.WIDTH_OVER_64)


def dividing_heads(heads: int, width: int, option: str) -> int:
    """`heads`, if each can have the same share of the width."""
    if heads < 1 or width % heads:
        raise refusal(
            "heads_do_not_divide", f"{heads} heads do not divide width {width}.", _DECLARE_HEADS, where=option
        )
    return heads


def side_of(num_positions: int, where: str, *, with_class_token: bool = True) -> int:
    """Of the square grid of patches. Raises CheckpointRejected 'image_not_square'."""
    cells = num_positions - with_class_token
    side = math.isqrt(max(0, cells))
    if side < 1 or side * side != cells:
        raise refusal(
            "image_not_square",
            f"'{where}' has {num_positions} positions, which is not a square grid.",
            "Only models for square images are supported.",
            where=where,
        )
    return side


def square_patch(shapes: Shapes, name: str) -> tuple[int, int]:
    """Width of a ViT, and side of its patches. Raises CheckpointRejected 'patch_not_square'."""
    width, _, height, patch_size = shape_of(shapes, name, 4)
    if height != patch_size:
        raise refusal(
            "patch_not_square",
            f"Patches are {height} x {patch_size} pixels.",
            "Only models with square patches are supported.",
            where=name,
        )
    return width, patch_size


def image_size_of(side: int, step: int, choices: Choices, *, usual: int | None = None) -> int:
    """Pixels of a side: declared, or those that `side` cells of `step` pixels fill, or `usual`."""
    cells = phrases.CELLS(side=side, also=side, step=step)
    size, why = (side * step, cells) if usual is None else (usual, phrases.PUBLISHED_TOWER)
    image_size = choices.pick("image_size", size, why)
    if image_size // step != side:
        raise contradiction("image_size", f"{image_size} px are not {side} cells of {step} px")
    if image_size > MAX_IMAGE_SIZE:  # one that is declared has this bound already
        raise refusal(
            "image_size_out_of_range",
            f"The model reads images of {image_size} px a side; at most {MAX_IMAGE_SIZE} px are supported.",
            "Upload a model for smaller images.",
            where="image_size",
        )
    return image_size


def check_context(context_length: int) -> None:
    """Raises CheckpointRejected 'context_length_out_of_range'."""
    if not 3 <= context_length <= MAX_CONTEXT:
        raise refusal(
            "context_length_out_of_range",
            f"The model reads {context_length} tokens at once.",
            f"Upload a model that reads 3 (a start, a word, an end) to {MAX_CONTEXT} tokens.",
            where="positional_embedding",
        )
