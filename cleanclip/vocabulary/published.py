"""What published CLIPs have by the shape of both towers: what is left where tensors and images do not decide.

From the model configurations and the list of weights of open_clip 3.3.0 (MIT): every plain ViT or
ModifiedResNet with CLIP's own text tower and tokenizer, and every SigLIP. The CLIPs of OpenAI and LAION and
Google's SigLIPs on Hugging Face have the same shapes and heads. Image towers of timm's are in
`timm_towers`. Free of torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cleanclip.vocabulary.timm_towers import entries, entry_of


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Some that are published under one entry, by open_clip's names; `constants`: of the normalisation."""

    names: tuple[str, ...]
    quick_gelu: bool
    resize_mode: Literal["shortest", "squash"]
    constants: Literal["openai", "half"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """`entry` names the configuration; `values` has heads, and the activation where all weights have one."""

    entry: str
    values: Mapping[str, str]
    weights: tuple[Weights, ...]

    def common(self, option: str) -> Any:
        """The value of a field of `Weights` that all of them have. None: they differ, or there are none."""
        values = {getattr(one, option) for one in self.weights}
        return values.pop() if len(values) == 1 else None

    def without(self, option: str, value: Any) -> tuple[str, ...]:
        """Names of the weights that have another value."""
        return tuple(name for one in self.weights if getattr(one, option) != value for name in one.names)


def published(model: Mapping[str, Any]) -> Published | None:
    """The entry whose towers have exactly the shape of `model` (section "model_cfg"), or None.

    Raises KeyError, TypeError or ValueError where the section is malformed.
    """
    vision, text = model["vision_cfg"], model["text_cfg"]
    if entries(str(vision.get("timm_model_name"))):
        return _with_timm(model)
    is_siglip = "timm_model_name" in vision
    if (vision.keys() | text.keys()) - _SHAPE - _NOT_SHAPE - (_OF_SIGLIPS if is_siglip else set()):
        return None
    layers = vision["layers"]
    is_resnet = isinstance(layers, list)
    shape = (
        f"{model['embed_dim']} | {','.join(map(str, layers)) if is_resnet else layers} {vision['width']} "
        f"{'-' if is_resnet else vision['patch_size']} {vision['image_size']} "
        f"{'-' if is_resnet else _mlp_width(vision)} | "
        f"{text['layers']} {text['width']} {text['context_length']} {_mlp_width(text)}"
    )
    if is_siglip:
        return _SIGLIPS.get(f"{shape} {text['vocab_size']}")
    return _BY_SHAPE.get(shape)


def _with_timm(model: Mapping[str, Any]) -> Published | None:
    """All published ones have GELU in their text tower; `timm_towers` has what else their weights have."""
    text = model["text_cfg"]
    if text.keys() - {"layers", "width", "context_length", "mlp_ratio", "no_causal_mask"} - _NOT_SHAPE:
        return None
    entry = entry_of(model) if _mlp_width(text) == 4 * text["width"] else None
    if entry is None:
        return None
    values = {"num_heads_text": str(entry.text_heads), "quick_gelu": "false"}
    if entry.heads:
        values["num_heads_vision"] = str(entry.heads)
    return Published(entry=entry.entry, values=values, weights=())


def _mlp_width(tower: Mapping[str, Any]) -> int:
    return int(tower["width"] * tower.get("mlp_ratio", 4.0))


_SHAPE = {"layers", "width", "patch_size", "image_size", "mlp_ratio", "context_length"}
_NOT_SHAPE = {"head_width", "heads", "vocab_size"}
_OF_SIGLIPS = {
    "timm_model_name", "timm_model_pretrained", "timm_pool", "timm_proj", "act_kwargs", "norm_kwargs",
    "no_causal_mask", "pool_type", "proj_bias", "proj_type", "hf_tokenizer_name", "tokenizer_kwargs",
}  # fmt: skip
"""What they have in their configurations besides."""
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


_TABLE_OF_SIGLIPS = """
ViT-B-16-SigLIP-256: 768 | 12 768 16 256 3072 | 12 768 64 3072 32000 | 12 12
ViT-B-16-SigLIP-384: 768 | 12 768 16 384 3072 | 12 768 64 3072 32000 | 12 12
ViT-B-16-SigLIP-512: 768 | 12 768 16 512 3072 | 12 768 64 3072 32000 | 12 12
ViT-B-16-SigLIP-i18n-256: 768 | 12 768 16 256 3072 | 12 768 64 3072 250000 | 12 12
ViT-B-16-SigLIP2-256: 768 | 12 768 16 256 3072 | 12 768 64 3072 256000 | 12 12
ViT-B-16-SigLIP2-384: 768 | 12 768 16 384 3072 | 12 768 64 3072 256000 | 12 12
ViT-B-16-SigLIP2-512: 768 | 12 768 16 512 3072 | 12 768 64 3072 256000 | 12 12
ViT-B-16-SigLIP2: 768 | 12 768 16 224 3072 | 12 768 64 3072 256000 | 12 12
ViT-B-16-SigLIP: 768 | 12 768 16 224 3072 | 12 768 64 3072 32000 | 12 12
ViT-B-32-SigLIP2-256: 768 | 12 768 32 256 3072 | 12 768 64 3072 256000 | 12 12
ViT-L-16-SigLIP-256: 1024 | 24 1024 16 256 4096 | 24 1024 64 4096 32000 | 16 16
ViT-L-16-SigLIP-384: 1024 | 24 1024 16 384 4096 | 24 1024 64 4096 32000 | 16 16
ViT-L-16-SigLIP2-256: 1024 | 24 1024 16 256 4096 | 24 1024 64 4096 256000 | 16 16
ViT-L-16-SigLIP2-384: 1024 | 24 1024 16 384 4096 | 24 1024 64 4096 256000 | 16 16
ViT-L-16-SigLIP2-512: 1024 | 24 1024 16 512 4096 | 24 1024 64 4096 256000 | 16 16
ViT-SO400M-14-SigLIP-378: 1152 | 27 1152 14 378 4304 | 27 1152 64 4304 32000 | 16 16
ViT-SO400M-14-SigLIP-384: 1152 | 27 1152 14 384 4304 | 27 1152 64 4304 32000 | 16 16
ViT-SO400M-14-SigLIP2-378: 1152 | 27 1152 14 378 4304 | 27 1152 64 4304 256000 | 16 16
ViT-SO400M-14-SigLIP2: 1152 | 27 1152 14 224 4304 | 27 1152 64 4304 256000 | 16 16
ViT-SO400M-14-SigLIP: 1152 | 27 1152 14 224 4304 | 27 1152 16 4304 32000 | 16 16
ViT-SO400M-16-SigLIP-i18n-256: 1152 | 27 1152 16 256 4304 | 27 1152 64 4304 250000 | 16 16
ViT-SO400M-16-SigLIP2-256: 1152 | 27 1152 16 256 4304 | 27 1152 64 4304 256000 | 16 16
ViT-SO400M-16-SigLIP2-384: 1152 | 27 1152 16 384 4304 | 27 1152 64 4304 256000 | 16 16
ViT-SO400M-16-SigLIP2-512: 1152 | 27 1152 16 512 4304 | 27 1152 64 4304 256000 | 16 16
ViT-gopt-16-SigLIP2-256: 1536 | 40 1536 16 256 6144 | 27 1152 64 4304 256000 | 16 16
ViT-gopt-16-SigLIP2-384: 1536 | 40 1536 16 384 6144 | 27 1152 64 4304 256000 | 16 16
"""
"""The same, and the number of tokens after the width of the text tower's MLP."""

_WEIGHTS = """
RN50 quick_gelu: openai yfcc15m cc12m
RN101 quick_gelu: openai yfcc15m
RN50x4 quick_gelu: openai
RN50x16 quick_gelu: openai
RN50x64 quick_gelu: openai
ViT-B-32 quick_gelu: openai laion400m_e31 laion400m_e32 metaclip_400m metaclip_fullcc
ViT-B-32: laion2b_e16 laion2b_s34b_b79k datacomp_xl_s13b_b90k datacomp_m_s128m_b4k
ViT-B-32: commonpool_m_clip_s128m_b4k commonpool_m_laion_s128m_b4k commonpool_m_image_s128m_b4k
ViT-B-32: commonpool_m_text_s128m_b4k commonpool_m_basic_s128m_b4k commonpool_m_s128m_b4k datacomp_s_s13m_b4k
ViT-B-32: commonpool_s_clip_s13m_b4k commonpool_s_laion_s13m_b4k commonpool_s_image_s13m_b4k
ViT-B-32: commonpool_s_text_s13m_b4k commonpool_s_basic_s13m_b4k commonpool_s_s13m_b4k
ViT-B-32-256: datacomp_s34b_b86k
ViT-B-16 quick_gelu: openai dfn2b metaclip_400m metaclip_fullcc
ViT-B-16: laion400m_e31 laion400m_e32 laion2b_s34b_b88k datacomp_xl_s13b_b90k datacomp_l_s1b_b8k
ViT-B-16: commonpool_l_clip_s1b_b8k commonpool_l_laion_s1b_b8k commonpool_l_image_s1b_b8k
ViT-B-16: commonpool_l_text_s1b_b8k commonpool_l_basic_s1b_b8k commonpool_l_s1b_b8k
ViT-B-16-plus-240: laion400m_e31 laion400m_e32
ViT-L-14 quick_gelu: openai metaclip_400m metaclip_fullcc dfn2b
ViT-L-14: laion400m_e31 laion400m_e32 datacomp_xl_s13b_b90k commonpool_xl_clip_s13b_b90k
ViT-L-14: commonpool_xl_laion_s13b_b90k commonpool_xl_s13b_b90k dfn2b_s39b
ViT-L-14 half: laion2b_s32b_b82k
ViT-L-14-336 quick_gelu: openai
ViT-H-14: laion2b_s32b_b79k metaclip_altogether
ViT-H-14 quick_gelu: metaclip_fullcc
ViT-H-14 quick_gelu squash: dfn5b
ViT-H-14-378 quick_gelu squash: dfn5b
ViT-g-14: laion2b_s12b_b42k laion2b_s34b_b88k
ViT-bigG-14: laion2b_s39b_b160k
ViT-bigG-14 quick_gelu: metaclip_fullcc
"""
"""Entry and what these weights have other than GELU, OpenAI's constants and "shortest": names of weights."""


def _weights_of(entry: str) -> Iterator[Weights]:
    for line in _WEIGHTS.strip().splitlines():
        about, names = line.split(": ")
        name, *others = about.split()
        if name == entry:
            yield Weights(
                names=tuple(names.split()),
                quick_gelu="quick_gelu" in others,
                resize_mode="squash" if "squash" in others else "shortest",
                constants="half" if "half" in others else "openai",
            )


def _read(line: str) -> tuple[str, Published]:
    entry, rest = line.split(": ")
    shape, heads = rest.rsplit(" | ", 1)
    values = dict(zip(("num_heads_vision", "num_heads_text"), heads.split(), strict=True))
    found = Published(entry=entry, values=values, weights=tuple(_weights_of(entry)))
    if (quick_gelu := found.common("quick_gelu")) is not None:
        values["quick_gelu"] = str(quick_gelu).lower()
    return shape, found


_BY_SHAPE = dict(map(_read, _TABLE.strip().splitlines()))
_SIGLIPS = dict(map(_read, _TABLE_OF_SIGLIPS.strip().splitlines()))
