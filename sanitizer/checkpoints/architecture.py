"""Which CLIP: two towers and what joins them, as one frozen value.

An `Architecture` is written as open_clip's own configuration (`to_config`) and read back from it.
It holds nothing about training (dropout of patches, initial values) and nothing about the file that the
weights came from. It builds nothing: see `building`; it guesses nothing: see `inference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cleanclip.vocabulary.timm_towers import Interpolation
from sanitizer.checkpoints.image_side import ImageSide
from sanitizer.checkpoints.siglip_configs import PooledTransformer, pooled_config, read_pooled, size_name
from sanitizer.checkpoints.timm_configs import TimmTower, is_timm, read_timm, timm_config
from sanitizer.checkpoints.tower_configs import (
    ModifiedResNet,
    TextTransformer,
    VisionTransformer,
    read_text,
    read_vision,
    refuse_unknown,
    text_config,
    unsupported,
    unsupported_tower,
    vision_config,
)

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
SIGLIP_CONSTANTS = (0.5, 0.5, 0.5)
CLIP_TOKENIZER = "clip_bpe"
VisionTower = VisionTransformer | ModifiedResNet | PooledTransformer | TimmTower
ResizeMode = Literal["shortest", "squash"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything needed to build the model and to prepare its input."""

    embed_dim: int
    vision: VisionTower
    text: TextTransformer
    quick_gelu: bool
    """Of both towers; of the text tower where timm builds the image tower, which has its own activation."""
    gelu_tanh: bool = False
    """As `quick_gelu`."""
    text_apart: bool = False
    """Whether it is open_clip's `CustomTextCLIP` and not a plain `CLIP`, for a model that is no SigLIP."""
    logit_scale_is_vector: bool = False
    logit_bias: bool = False
    image_mean: tuple[float, float, float] = OPENAI_MEAN
    image_std: tuple[float, float, float] = OPENAI_STD
    resize_mode: ResizeMode = "shortest"
    tokenizer: str = CLIP_TOKENIZER
    """CLIP's byte pairs, or the SHA-256 of a SigLIP's `tokenizer.json`."""

    @property
    def is_siglip(self) -> bool:
        """Whether it has a SigLIP's image tower, and so a separate text tower and a tokenizer of its own."""
        return isinstance(self.vision, PooledTransformer)

    @property
    def has_text_apart(self) -> bool:
        """Whether it is open_clip's `CustomTextCLIP`."""
        return self.is_siglip or self.text_apart

    @property
    def image_size(self) -> ImageSide:
        """Side of the square input image, in pixels."""
        return ImageSide(
            self.vision.image_size,
            is_squashed=self.resize_mode == "squash",
            is_bilinear=self.interpolation == "bilinear",
        )

    @property
    def interpolation(self) -> Interpolation:
        """How pixels are resized: as the weights that are published with this image tower were trained."""
        return self.vision.published.interpolation if isinstance(self.vision, TimmTower) else "bicubic"

    @property
    def context_length(self) -> int:
        """Tokens that one caption is cut or padded to."""
        return self.text.context_length

    @property
    def name(self) -> str:
        """Short and human: 'ViT-B/32', 'RN50', 'ModifiedResNet [1,1,1,1] width 24, 32 px'."""
        return _name(self.vision)

    def to_config(self) -> dict[str, Any]:
        """{"model_cfg", "preprocess_cfg"} exactly as open_clip's hub configuration files have them."""
        model: dict[str, Any] = {
            "embed_dim": self.embed_dim,
            "quick_gelu": self.quick_gelu,
            "vision_cfg": _vision_config(self.vision, gelu_tanh=self.gelu_tanh),
            "text_cfg": text_config(self.text, gelu_tanh=self.gelu_tanh),
        }
        if self.has_text_apart:
            model["custom_text"] = True
        if self.is_siglip:
            model["text_cfg"] |= {"hf_tokenizer_name": self.tokenizer, "tokenizer_kwargs": dict(_CLEANED)}
        if self.logit_scale_is_vector:
            model["nonscalar_logit_scale"] = True
        if self.logit_bias:
            model["init_logit_bias"] = 0.0
        preprocess = {
            "size": self.image_size,
            "mode": "RGB",
            "mean": list(self.image_mean),
            "std": list(self.image_std),
            "interpolation": self.interpolation,
            "resize_mode": self.resize_mode,
            "fill_color": 0,
        }
        return {"model_cfg": model, "preprocess_cfg": preprocess}

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Architecture:
        """Read what `to_config` wrote, or any of open_clip's configurations of a plain CLIP.

        Raises CheckpointRejected 'config_unsupported' for towers that `CLIP` here cannot be.
        """
        model = config.get("model_cfg", config)
        preprocess = config.get("preprocess_cfg", {})
        refuse_unknown(model, _MODEL_KEYS, "model_cfg")
        vision, text = model["vision_cfg"], dict(model["text_cfg"])
        tokenizer, mean, std = CLIP_TOKENIZER, OPENAI_MEAN, OPENAI_STD
        has_timm, is_apart = is_timm(vision), bool(model.get("custom_text"))
        is_siglip = is_apart and not has_timm and "timm_model_name" in vision
        if "hf_model_name" in text or ("timm_model_name" in vision and not (has_timm or is_siglip)):
            raise unsupported_tower(text.get("hf_model_name") or vision["timm_model_name"])
        if is_siglip:
            tokenizer, mean, std = str(text.pop("hf_tokenizer_name", "")), SIGLIP_CONSTANTS, SIGLIP_CONSTANTS
            text.pop("tokenizer_kwargs", None)
        return Architecture(
            embed_dim=int(model["embed_dim"]),
            vision=read_pooled(vision)
            if is_siglip
            else (read_timm(vision) if has_timm else read_vision(vision)),
            text=read_text(text),
            quick_gelu=bool(model.get("quick_gelu", False)),
            gelu_tanh=_gelu_tanh({"layers": []} if is_siglip or has_timm else vision, text),
            text_apart=is_apart and not is_siglip,
            logit_scale_is_vector=bool(model.get("nonscalar_logit_scale", False)),
            logit_bias=model.get("init_logit_bias") is not None,
            image_mean=_triple(preprocess.get("mean", mean)),
            image_std=_triple(preprocess.get("std", std)),
            resize_mode=_resize_mode(preprocess.get("resize_mode", "squash" if is_siglip else "shortest")),
            tokenizer=tokenizer,
        )


_MODEL_KEYS = {
    "embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "nonscalar_logit_scale",
    "init_logit_bias", "init_logit_scale", "custom_text",
}  # fmt: skip


_CLEANED = {"clean": "canonicalize"}
"""How open_clip prepares a text for a SigLIP: in small letters, without punctuation."""


def _vision_config(vision: VisionTower, *, gelu_tanh: bool) -> dict[str, Any]:
    if isinstance(vision, TimmTower):
        return timm_config(vision)
    if isinstance(vision, PooledTransformer):
        return pooled_config(vision)
    return vision_config(vision, gelu_tanh=gelu_tanh)


def _gelu_tanh(vision: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Both towers must have the same GELU; a ModifiedResNet has none."""
    towers = [text] if isinstance(vision.get("layers"), list | tuple) else [text, vision]
    forms = [tower.get("act_kwargs") or {} for tower in towers]
    if any(form not in ({}, {"approximate": "none"}, {"approximate": "tanh"}) for form in forms):
        raise unsupported("act_kwargs")
    is_tanh = {form.get("approximate") == "tanh" for form in forms}
    if len(is_tanh) > 1:
        raise unsupported("act_kwargs of one tower only")
    return is_tanh.pop()


def _resize_mode(value: Any) -> ResizeMode:
    if value == "shortest" or value == "squash":  # noqa: PLR1714 — mypy narrows no set
        mode: ResizeMode = value
        return mode
    raise unsupported("a resize_mode other than shortest and squash")


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)
    return (red, green, blue)


_RESNETS = {
    ((3, 4, 6, 3), 64): "RN50",
    ((3, 4, 23, 3), 64): "RN101",
    ((4, 6, 10, 6), 80): "RN50x4",
    ((6, 8, 18, 8), 96): "RN50x16",
    ((3, 15, 36, 10), 128): "RN50x64",
}
_VITS = {
    (384, 12): "S", (512, 12): "M", (768, 12): "B", (1024, 24): "L", (1280, 32): "H", (1408, 40): "g",
    (1664, 48): "bigG", (1792, 56): "e",
}  # fmt: skip
_SIGLIPS = {"base": "B", "large": "L", "so400m": "SO400M", "giantopt": "gopt"}


def _name(vision: VisionTower) -> str:
    if isinstance(vision, TimmTower):
        return f"{vision.name} at {vision.image_size} px"
    if isinstance(vision, ModifiedResNet):
        known = _RESNETS.get((vision.layers, vision.width))
        stages = ",".join(str(n) for n in vision.layers)
        return known or f"ModifiedResNet [{stages}] width {vision.width}, {vision.image_size} px"
    blocks, kind = vision.blocks, "ViT"
    size = _VITS.get((blocks.width, blocks.layers))
    if isinstance(vision, PooledTransformer):
        size, kind = _SIGLIPS.get(size_name(blocks) or ""), "SigLIP ViT"
    if size is None:
        width, layers = blocks.width, blocks.layers
        return f"{kind} width {width}, {layers} layers, patch {vision.patch_size}, {vision.image_size} px"
    at_size = "" if vision.image_size == 224 else f" at {vision.image_size} px"
    return f"{kind}-{size}/{vision.patch_size}{at_size}"
