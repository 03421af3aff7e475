"""What a CLIP costs, by its configuration: parameters, operations, and what a pass holds of each sample.

A closed form over layers, widths and tokens, for open_clip's towers as a training step runs them. Tests hold
it to what torch itself counts (tests/numerics/test_device_plan.py). Free of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cleanclip.vocabulary.timm_towers import gflop_of

FLOAT, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Counts of numbers and operations are of one sample: an image, or a caption that fills all places."""

    parameters: int
    matrices: int
    """Of `parameters` those of convolutions and matrix products, which autocast copies to bfloat16."""
    flop: float
    """Of a pass forward. Backward takes twice as much; to the pixels alone, as much."""
    kept: int
    """What a backward pass needs in any case, ..."""
    kept_to_train: int
    """... what it needs besides for the gradients of the weights, ..."""
    kept_in_float: int
    """... and what is float32 in any precision."""
    normed: int
    """Inputs of layer norms: autocast on CUDA keeps them in float32, on a CPU it does not."""
    passing: int
    """What lives at once in a pass without gradients."""
    pixels: int = 0

    def kept_bytes(self, *, is_half: bool, trains: bool, is_cuda: bool = True) -> int:
        """Of a sample, between its pass forward and its pass backward."""
        each = HALF if is_half else FLOAT
        numbers = self.kept + (self.kept_to_train if trains else 0)
        norms = self.normed * (FLOAT if is_cuda else each)
        return each * numbers + norms + FLOAT * self.kept_in_float + self._pixel_bytes

    def passing_bytes(self, *, is_half: bool) -> int:
        """Of a sample in a pass without gradients."""
        return (HALF if is_half else FLOAT) * self.passing + self._pixel_bytes

    @property
    def _pixel_bytes(self) -> int:
        """As loaded, as numbers in [0, 1], and normalised."""
        return (1 + 2 * FLOAT) * self.pixels


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    image: Tower
    text: Tower
    image_size: int

    @property
    def parameters(self) -> int:
        return self.image.parameters + self.text.parameters


NO_PLAN = (
    "There is no plan for a GPU: the memory of this image tower of timm's is not known, so an order is never "
    "refused because it does not fit."
)


def has_no_plan(config: Mapping[str, Any]) -> bool:
    """Whether the model's canonical config.json says enough, but no formula here is of its image tower."""
    vision = (config.get("model_cfg") or {}).get("vision_cfg") or {}
    return "timm_model_name" in vision and cost_of(config) is None


def cost_of(config: Mapping[str, Any]) -> ModelCost | None:
    """By the model's canonical config.json; None where that says too little."""
    try:
        model = config["model_cfg"]
        vision, text, width = model["vision_cfg"], model["text_cfg"], model["embed_dim"]
        is_quick = bool(model.get("quick_gelu"))
        return ModelCost(
            image=_image(vision, width, is_quick),
            text=_text(text, width, is_quick),
            image_size=vision["image_size"],
        )
    except (KeyError, TypeError):
        return None


def gflop_per_pass(config: Mapping[str, Any]) -> float:
    """Of one image through the image tower."""
    vision = config["model_cfg"]["vision_cfg"]
    return gflop_of(vision) or _image(vision, 512, False).flop / 1e9


def _image(vision: Mapping[str, Any], embed_width: int, is_quick: bool) -> Tower:
    if isinstance(vision["layers"], list | tuple):
        return _resnet(vision, embed_width)
    width, patch, side = vision["width"], vision["patch_size"], vision["image_size"]
    num_patches, patch_pixels = (side // patch) ** 2, 3 * patch**2
    tokens = num_patches + 1
    further = width * (1 + tokens + 4)  # class, positions, two norms
    matrices = width * (patch_pixels + embed_width)
    return _transformer(
        vision,
        tokens,
        vision.get("head_width", 64),
        is_quick,
        further=further,
        matrices=matrices,
        flop=2 * width * (num_patches * patch_pixels + embed_width),
        patches=num_patches * patch_pixels,
        pixels=3 * side**2,
        num_norms=2,
    )


def _text(text: Mapping[str, Any], embed_width: int, is_quick: bool) -> Tower:
    width, tokens = text.get("width", 512), text.get("context_length", 77)
    return _transformer(
        text,
        tokens,
        width // text.get("heads", 8),
        is_quick,
        further=width * (text.get("vocab_size", 49408) + tokens + 2) + 1,
        matrices=width * embed_width,
        flop=2 * width * embed_width,
        num_norms=1,
    )


def _transformer(
    blocks: Mapping[str, Any],
    tokens: int,
    head_width: int,
    is_quick: bool,
    *,
    further: int,
    matrices: int,
    flop: float,
    patches: int = 0,
    pixels: int = 0,
    num_norms: int,
) -> Tower:
    """Residual attention blocks, and what the tower has besides them."""
    width, layers = blocks["width"], blocks["layers"]
    inner, has_scale = int(width * blocks.get("mlp_ratio", 4.0)), blocks.get("ls_init_value") is not None
    weights = layers * (4 * width**2 + 2 * width * inner)
    biases = layers * (9 * width + inner + 2 * width * has_scale)
    # QuickGELU is two operations: it keeps its sigmoid as well as its input.
    activations = inner * (2 if is_quick else 1)
    rows = layers * tokens
    normed = (2 * layers + num_norms) * tokens * width
    return Tower(
        parameters=weights + biases + matrices + further,
        matrices=weights + matrices,
        flop=2 * tokens * weights + 4 * layers * tokens**2 * width + flop,
        kept=rows * (4 * width + activations),  # query, key, value, their result
        kept_to_train=rows * (2 * width + inner + 2 * width * has_scale) + patches,
        # Captions begin as float32 rows of the token table, so their residual stream is float32.
        kept_in_float=rows * (width // head_width) + (0 if pixels else normed),
        normed=normed if pixels else 0,
        passing=tokens * (4 * width + inner + activations),
        pixels=pixels,
    )


def _resnet(vision: Mapping[str, Any], embed_width: int) -> Tower:
    """OpenAI's ModifiedResNet: each convolution is followed by a BatchNorm, most by a ReLU in place."""
    width, size = vision["width"], vision["image_size"]
    weights, norms, flop, kept = 0, 0, 0.0, 0

    def convolve(channels: int, out: int, side: int, kernel: int = 1, *, has_relu: bool = True) -> None:
        nonlocal weights, norms, flop, kept
        weights += kernel**2 * channels * out
        norms += 2 * out
        flop += 2 * kernel**2 * channels * out * side**2
        kept += out * side**2 * (2 if has_relu else 1)

    side = size // 2
    for channels, out in ((3, width // 2), (width // 2, width // 2), (width // 2, width)):
        convolve(channels, out, side, 3)
    side //= 2
    channels = width
    kept += channels * side**2
    for stage, num_blocks in enumerate(vision["layers"]):
        planes = width * 2**stage
        for number in range(num_blocks):
            stride = 2 if stage and not number else 1
            convolve(channels, planes, side)
            convolve(planes, planes, side, 3)
            side //= stride
            kept += planes * side**2 * (stride - 1)
            convolve(planes, 4 * planes, side)
            if not number:
                kept += channels * side**2
                convolve(channels, 4 * planes, side, has_relu=False)
            channels = 4 * planes
    tokens = side**2 + 1
    weights += channels * (3 * channels + embed_width)
    flop += 2 * tokens * channels * (3 * channels + embed_width) + 4 * tokens**2 * channels
    return Tower(
        parameters=weights + norms + channels * (tokens + 3) + embed_width,
        matrices=weights,
        flop=flop,
        kept=kept + 5 * tokens * channels + 3 * size**2,
        kept_to_train=tokens * channels,
        kept_in_float=0,
        normed=0,
        passing=14 * width * (size // 4) ** 2,
        pixels=3 * size**2,
    )
