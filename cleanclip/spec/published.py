"""Attention heads of published CLIPs by the shape of both towers: what is left where images do not decide.

From the model configurations of open_clip 3.3.0 (MIT): every plain ViT or ModifiedResNet with CLIP's own
text tower and tokenizer. The CLIPs of OpenAI and LAION on Hugging Face have the same shapes and heads. The
activation is not here: most shapes are published with GELU and with QuickGELU. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Published:
    """`entry` names the configuration; `heads` has a value for each option."""

    entry: str
    heads: Mapping[str, str]


def published(model: Mapping[str, Any]) -> Published | None:
    """The entry whose towers have exactly the shape of `model` (section "model_cfg"), or None.

    Raises KeyError, TypeError or ValueError where the section is malformed.
    """
    vision, text = model["vision_cfg"], model["text_cfg"]
    if (vision.keys() | text.keys()) - _SHAPE - _NOT_SHAPE:
        return None
    layers = vision["layers"]
    is_resnet = isinstance(layers, list)
    shape = (
        f"{model['embed_dim']} | {','.join(map(str, layers)) if is_resnet else layers} {vision['width']} "
        f"{'-' if is_resnet else vision['patch_size']} {vision['image_size']} "
        f"{'-' if is_resnet else _mlp_width(vision)} | "
        f"{text['layers']} {text['width']} {text['context_length']} {_mlp_width(text)}"
    )
    return _BY_SHAPE.get(shape)


def _mlp_width(tower: Mapping[str, Any]) -> int:
    return int(tower["width"] * tower.get("mlp_ratio", 4.0))


_SHAPE = {"layers", "width", "patch_size", "image_size", "mlp_ratio", "context_length"}
_NOT_SHAPE = {"head_width", "heads", "vocab_size"}
_TABLE = """
RN50: 1024 | 3,4,6,3 64 - 224 - | 12 512 77 2048 | 32 8
RN101: 512 | 3,4,23,3 64 - 224 - | 12 512 77 2048 | 32 8
RN50x4: 640 | 4,6,10,6 80 - 288 - | 12 640 77 2560 | 40 10
RN50x16: 768 | 6,8,18,8 96 - 384 - | 12 768 77 3072 | 48 12
RN50x64: 1024 | 3,15,36,10 128 - 448 - | 12 1024 77 4096 | 64 16
ViT-B-16: 512 | 12 768 16 224 3072 | 12 512 77 2048 | 12 8
ViT-B-32: 512 | 12 768 32 224 3072 | 12 512 77 2048 | 12 8
ViT-H-14: 1024 | 32 1280 14 224 5120 | 24 1024 77 4096 | 16 16
ViT-H-16: 1024 | 32 1280 16 224 5120 | 24 1024 77 4096 | 16 16
ViT-L-14: 768 | 24 1024 14 224 4096 | 12 768 77 3072 | 16 12
ViT-L-16: 768 | 24 1024 16 224 4096 | 12 768 77 3072 | 16 12
ViT-M-16: 512 | 12 512 16 224 2048 | 12 512 77 2048 | 8 8
ViT-M-32: 512 | 12 512 32 224 2048 | 12 512 77 2048 | 8 8
ViT-S-16: 384 | 12 384 16 224 1536 | 12 384 77 1536 | 6 6
ViT-S-32: 384 | 12 384 32 224 1536 | 12 384 77 1536 | 6 6
ViT-e-14: 1280 | 56 1792 14 224 15360 | 36 1280 77 5120 | 16 20
ViT-g-14: 1024 | 40 1408 14 224 6144 | 24 1024 77 4096 | 16 16
ViT-bigG-14: 1280 | 48 1664 14 224 8192 | 32 1280 77 5120 | 16 20
ViT-B-32-256: 512 | 12 768 32 256 3072 | 12 512 77 2048 | 12 8
ViT-H-14-378: 1024 | 32 1280 14 378 5120 | 24 1024 77 4096 | 16 16
ViT-L-14-280: 768 | 24 1024 14 280 4096 | 12 768 77 3072 | 16 12
ViT-L-14-336: 768 | 24 1024 14 336 4096 | 12 768 77 3072 | 16 12
ViT-L-16-320: 768 | 24 1024 16 320 4096 | 12 768 77 3072 | 16 12
ViT-M-32-alt: 384 | 12 512 32 224 2048 | 12 384 77 1536 | 8 6
ViT-S-16-alt: 256 | 12 384 16 224 1536 | 10 256 77 1024 | 6 4
ViT-S-32-alt: 256 | 12 384 32 224 1536 | 10 256 77 1024 | 6 4
ViT-B-16-plus: 640 | 12 896 16 224 3584 | 12 640 77 2560 | 14 10
ViT-B-16-plus-240: 640 | 12 896 16 240 3584 | 12 640 77 2560 | 14 10
ViT-B-32-plus-256: 640 | 12 896 32 256 3584 | 12 640 77 2560 | 14 10
"""
"""Entry: embedding width | vision layers, width, patch, image, MLP | text layers, width, context, MLP | heads
of the vision and of the text tower."""


def _read(line: str) -> tuple[str, Published]:
    entry, rest = line.split(": ")
    shape, heads = rest.rsplit(" | ", 1)
    options = ("num_heads_vision", "num_heads_text")
    return shape, Published(entry=entry, heads=dict(zip(options, heads.split(), strict=True)))


_BY_SHAPE = dict(map(_read, _TABLE.strip().splitlines()))
