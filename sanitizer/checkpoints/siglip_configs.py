"""A SigLIP's image tower as a frozen value, and its form in open_clip's configuration files. Free of torch.

open_clip has no words for this tower's shape: it builds it from timm by a name. So a configuration has both,
the name that timm knows the shape by (if it knows one), and the shape in the fields that open_clip has for
its own ViT, which it does not read where a name is given. We read the fields, or the name where there are
none. Names and shapes: timm 1.0, vision_transformer.py; open_clip 3.3, model_configs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sanitizer.checkpoints.tower_configs import Blocks, refuse_unknown, unsupported, unsupported_tower

SIGLIP_NORM_EPS = 1e-6
SIGLIP2_VOCABULARY = 256_000
"""Tokens of Gemma's tokenizer, which every published SigLIP 2 has and no SigLIP."""


@dataclass(frozen=True, kw_only=True)
class PooledTransformer:
    """timm's ViT without a class token, whose patches one learnt query reads (`global_pool="map"`)."""

    blocks: Blocks
    patch_size: int
    image_size: int
    gelu_tanh: bool = False


_SIZES = {
    (768, 12, 12, 3072): "base",
    (1024, 24, 16, 4096): "large",
    (1152, 27, 16, 4304): "so400m",
    (1536, 40, 16, 6144): "giantopt",
}
"""(width, layers, heads, width of the MLP) → how timm calls it."""
KNOWN_HEADS = {(width, layers): heads for width, layers, heads, _ in _SIZES}
_TANH = frozenset(
    f"vit_{size}_siglip_{side}"
    for size, sides in {
        "base_patch32": (256,),
        "large_patch16": (512,),
        "so400m_patch16": (256, 384, 512),
        "giantopt_patch16": (256, 384),
    }.items()
    for side in sides
)
"""Those that timm builds with GELU in its tanh form; all others have the exact one."""
_NAME = re.compile(r"vit_([a-z0-9]+)_patch(\d{1,3})_siglip_(\d{2,4})")
_TIMM = {"timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
_KEYS = {
    "timm_model_name", "image_size", "patch_size", "width", "layers", "head_width", "mlp_ratio", "act_kwargs",
    "norm_kwargs", *_TIMM,
}  # fmt: skip


def size_name(blocks: Blocks) -> str | None:
    """'base', 'large', 'so400m', 'giantopt'; None for a tower that nobody published."""
    return _SIZES.get((blocks.width, blocks.layers, blocks.heads, blocks.mlp_width))


def timm_name(vision: PooledTransformer) -> str:
    """As timm calls this shape, or would: it refuses a name that it does not know."""
    size = size_name(vision.blocks) or f"width{vision.blocks.width}depth{vision.blocks.layers}"
    return f"vit_{size}_patch{vision.patch_size}_siglip_{vision.image_size}"


def has_tanh_in_timm(name: str) -> bool:
    return name in _TANH


def pooled_config(vision: PooledTransformer) -> dict[str, Any]:
    """open_clip's section "vision_cfg"."""
    blocks = vision.blocks
    config: dict[str, Any] = {
        "timm_model_name": timm_name(vision),
        **_TIMM,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "width": blocks.width,
        "layers": blocks.layers,
        "head_width": blocks.width // blocks.heads,
        "mlp_ratio": blocks.mlp_ratio,
    }
    if vision.gelu_tanh:
        config["act_kwargs"] = {"approximate": "tanh"}
    if blocks.norm_eps != SIGLIP_NORM_EPS:
        config["norm_kwargs"] = {"eps": blocks.norm_eps}
    return config


def read_pooled(config: Mapping[str, Any]) -> PooledTransformer:
    """Raises CheckpointRejected 'config_unsupported' for any other tower of timm's."""
    name = str(config.get("timm_model_name"))
    if not _NAME.fullmatch(name):
        raise unsupported_tower(name)
    refuse_unknown(config, _KEYS, "vision_cfg")
    if any(config.get(key, value) != value for key, value in _TIMM.items()):
        raise unsupported("vision_cfg.timm_pool or timm_proj")
    image_size = config["image_size"]
    if not isinstance(image_size, int):
        raise unsupported("vision_cfg.image_size that is not square")
    if "width" not in config:
        return _published(name, image_size)
    width = int(config["width"])
    return PooledTransformer(
        blocks=Blocks(
            width=width,
            layers=int(config["layers"]),
            heads=width // int(config["head_width"]),
            mlp_width=int(width * config["mlp_ratio"]),
            norm_eps=float((config.get("norm_kwargs") or {}).get("eps", SIGLIP_NORM_EPS)),
        ),
        patch_size=int(config["patch_size"]),
        image_size=image_size,
        gelu_tanh=(config.get("act_kwargs") or {}).get("approximate") == "tanh",
    )


def _published(name: str, image_size: int) -> PooledTransformer:
    size, patch_size, _ = _NAME.fullmatch(name).groups()  # type: ignore[union-attr]  # the caller has matched it
    for (width, layers, heads, mlp_width), known in _SIZES.items():
        if size == known:
            blocks = Blocks(
                width=width, layers=layers, heads=heads, mlp_width=mlp_width, norm_eps=SIGLIP_NORM_EPS
            )
            return PooledTransformer(
                blocks=blocks,
                patch_size=int(patch_size),
                image_size=image_size,
                gelu_tanh=has_tanh_in_timm(name),
            )
    raise unsupported_tower(name)
