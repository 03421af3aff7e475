"""Which CLIP: every shape that open_clip's `CLIP` class can build, as one frozen value.

An `Architecture` is written as open_clip's own configuration (`to_config`) and read back from it.
It holds nothing about training (dropout of patches, initial values) and nothing about the file that the
weights came from. It builds nothing: see `building`; it guesses nothing: see `inference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sanitizer.checkpoints.rejection import refusal
from sanitizer.errors import CheckpointRejected

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
DEFAULT_NORM_EPS = 1e-5

VisionPool = Literal["tok", "avg"]
TextPool = Literal["argmax", "eos", "first", "last"]
PositionTable = Literal["learnable", "sin_cos_2d"]
TextProjection = Literal["matrix", "linear", "none"]

_FEATURES = ("qk_norm", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A stack of residual attention blocks. The flags are open_clip's own names for optional norms."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    layer_scale: bool = False
    qk_norm: bool = False
    scale_heads: bool = False
    scale_attn_inner: bool = False
    scale_attn: bool = False
    scale_fc: bool = False
    norm_eps: float = DEFAULT_NORM_EPS


@dataclass(frozen=True, kw_only=True)
class VisionTransformer:
    """ViT tower. `image_size` and `patch_size` in pixels; both square."""

    blocks: Blocks
    patch_size: int
    image_size: int
    ln_pre: bool = True
    pool: VisionPool = "tok"
    final_ln_after_pool: bool = False
    position_table: PositionTable = "learnable"


@dataclass(frozen=True, kw_only=True)
class ModifiedResNet:
    """OpenAI's ResNet tower with attention pooling; `layers` counts the bottlenecks of its four stages."""

    layers: tuple[int, int, int, int]
    width: int
    heads: int
    image_size: int


@dataclass(frozen=True, kw_only=True)
class TextTransformer:
    """`pool` says where the caption's embedding is read; `eos_id` matters for pool 'eos' only."""

    blocks: Blocks
    context_length: int
    vocab_size: int
    projection: TextProjection = "matrix"
    pool: TextPool = "argmax"
    eos_id: int = 2
    causal: bool = True


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything needed to build the model and to prepare its input."""

    embed_dim: int
    vision: VisionTransformer | ModifiedResNet
    text: TextTransformer
    quick_gelu: bool
    gelu_tanh: bool = False
    logit_scale_is_vector: bool = False
    logit_bias: bool = False
    image_mean: tuple[float, float, float] = OPENAI_MEAN
    image_std: tuple[float, float, float] = OPENAI_STD
    tokenizer: Literal["clip_bpe"] = "clip_bpe"

    @property
    def image_size(self) -> int:
        """Side of the square input image, in pixels."""
        return self.vision.image_size

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
            "text_cfg": _text_config(self.text, gelu_tanh=self.gelu_tanh),
        }
        if self.logit_scale_is_vector:
            model["nonscalar_logit_scale"] = True
        if self.logit_bias:
            model["init_logit_bias"] = 0.0
        preprocess = {
            "size": self.image_size,
            "mode": "RGB",
            "mean": list(self.image_mean),
            "std": list(self.image_std),
            "interpolation": "bicubic",
            "resize_mode": "shortest",
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
        _refuse_unknown(model, _MODEL_KEYS, "model_cfg")
        if model.get("custom_text"):
            raise _unsupported("custom_text")
        vision, text = model["vision_cfg"], model["text_cfg"]
        return Architecture(
            embed_dim=int(model["embed_dim"]),
            vision=_read_vision(vision),
            text=_read_text(text),
            quick_gelu=bool(model.get("quick_gelu", False)),
            gelu_tanh=(text.get("act_kwargs") or {}).get("approximate") == "tanh",
            logit_scale_is_vector=bool(model.get("nonscalar_logit_scale", False)),
            logit_bias=model.get("init_logit_bias") is not None,
            image_mean=_triple(preprocess.get("mean", OPENAI_MEAN)),
            image_std=_triple(preprocess.get("std", OPENAI_STD)),
        )


_MODEL_KEYS = {
    "embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "nonscalar_logit_scale",
    "init_logit_bias", "init_logit_scale", "custom_text",
}  # fmt: skip
_BLOCK_KEYS = {"width", "layers", "mlp_ratio", "ls_init_value", "act_kwargs", "norm_kwargs", *_FEATURES}
_VISION_KEYS = _BLOCK_KEYS | {
    "head_width", "patch_size", "image_size", "no_ln_pre", "pos_embed_type", "final_ln_after_pool",
    "pool_type", "patch_dropout",
}  # fmt: skip
_TEXT_KEYS = _BLOCK_KEYS | {
    "heads", "context_length", "vocab_size", "no_causal_mask", "pool_type", "eos_id", "proj_type",
    "proj_bias",
}  # fmt: skip


def _unsupported(what: str) -> CheckpointRejected:
    return refusal(
        "config_unsupported",
        f"The configuration asks for '{what}', which is no part of the plain CLIP that is supported.",
        "Use a checkpoint of open_clip's CLIP class with its own ViT or ModifiedResNet and text tower.",
        where=what,
    )


def _refuse_unknown(config: Mapping[str, Any], known: set[str], section: str) -> None:
    for key in config:
        if key not in known and config[key] not in (None, False):
            raise _unsupported(f"{section}.{key}")


def _mlp_ratio(width: int, mlp_width: int) -> float:
    """The ratio r with int(width * r) == mlp_width, which is how open_clip computes the width."""
    ratio = mlp_width / width
    return ratio if int(width * ratio) == mlp_width else (mlp_width + 0.5) / width


def _block_config(blocks: Blocks, *, gelu_tanh: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"width": blocks.width, "layers": blocks.layers}
    config["mlp_ratio"] = _mlp_ratio(blocks.width, blocks.mlp_width)
    if blocks.layer_scale:
        config["ls_init_value"] = 1e-5  # the initial value only; the trained one is among the weights
    if gelu_tanh:
        config["act_kwargs"] = {"approximate": "tanh"}
    if blocks.norm_eps != DEFAULT_NORM_EPS:
        config["norm_kwargs"] = {"eps": blocks.norm_eps}
    config.update({name: True for name in _FEATURES if getattr(blocks, name)})
    return config


def _vision_config(vision: VisionTransformer | ModifiedResNet, *, gelu_tanh: bool) -> dict[str, Any]:
    if isinstance(vision, ModifiedResNet):
        return {
            "image_size": vision.image_size,
            "layers": list(vision.layers),
            "width": vision.width,
            "head_width": vision.width * 32 // vision.heads,
            "patch_size": None,
        }
    config = _block_config(vision.blocks, gelu_tanh=gelu_tanh)
    config |= {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "head_width": vision.blocks.width // vision.blocks.heads,
    }
    if not vision.ln_pre:
        config["no_ln_pre"] = True
    if vision.pool != "tok":
        config["pool_type"] = vision.pool
    if vision.final_ln_after_pool:
        config["final_ln_after_pool"] = True
    if vision.position_table != "learnable":
        config["pos_embed_type"] = vision.position_table
    return config


def _text_config(text: TextTransformer, *, gelu_tanh: bool) -> dict[str, Any]:
    config = _block_config(text.blocks, gelu_tanh=gelu_tanh)
    config |= {
        "heads": text.blocks.heads,
        "context_length": text.context_length,
        "vocab_size": text.vocab_size,
    }
    if text.projection == "none":
        config["proj_type"] = "none"
    if text.projection == "linear":
        config["proj_bias"] = True
    if text.pool != "argmax":
        config["pool_type"] = text.pool
    if text.pool == "eos":
        config["eos_id"] = text.eos_id
    if not text.causal:
        config["no_causal_mask"] = True
    return config


def _read_blocks(config: Mapping[str, Any], *, width: int, heads: int) -> Blocks:
    return Blocks(
        width=width,
        layers=int(config.get("layers", 12)),
        heads=heads,
        mlp_width=int(width * config.get("mlp_ratio", 4.0)),
        layer_scale=config.get("ls_init_value") is not None,
        norm_eps=float((config.get("norm_kwargs") or {}).get("eps", DEFAULT_NORM_EPS)),
        **{name: bool(config.get(name, False)) for name in _FEATURES},
    )


def _read_vision(config: Mapping[str, Any]) -> VisionTransformer | ModifiedResNet:
    _refuse_unknown(config, _VISION_KEYS, "vision_cfg")
    head_width = int(config.get("head_width", 64))
    image_size = config.get("image_size", 224)
    if not isinstance(image_size, int):
        raise _unsupported("vision_cfg.image_size that is not square")
    layers = config.get("layers", 12)
    if isinstance(layers, list | tuple):
        first, second, third, fourth = (int(n) for n in layers)
        width = int(config.get("width", 64))
        heads = width * 32 // head_width
        return ModifiedResNet(
            layers=(first, second, third, fourth), width=width, heads=heads, image_size=image_size
        )
    width = int(config.get("width", 768))
    if config.get("pool_type", "tok") not in ("tok", "avg"):
        raise _unsupported("vision_cfg.pool_type")
    return VisionTransformer(
        blocks=_read_blocks(config, width=width, heads=width // head_width),
        patch_size=int(config.get("patch_size", 16)),
        image_size=image_size,
        ln_pre=not config.get("no_ln_pre", False),
        pool=config.get("pool_type", "tok"),
        final_ln_after_pool=bool(config.get("final_ln_after_pool", False)),
        position_table=config.get("pos_embed_type", "learnable"),
    )


def _read_text(config: Mapping[str, Any]) -> TextTransformer:
    _refuse_unknown(config, _TEXT_KEYS, "text_cfg")
    if config.get("pool_type", "argmax") not in ("argmax", "eos", "first", "last"):
        raise _unsupported("text_cfg.pool_type")
    projection: TextProjection = "linear" if config.get("proj_bias") else "matrix"
    return TextTransformer(
        blocks=_read_blocks(config, width=int(config.get("width", 512)), heads=int(config.get("heads", 8))),
        context_length=int(config.get("context_length", 77)),
        vocab_size=int(config.get("vocab_size", 49408)),
        projection="none" if config.get("proj_type") == "none" else projection,
        pool=config.get("pool_type", "argmax"),
        eos_id=int(config.get("eos_id", 2)),
        causal=not config.get("no_causal_mask", False),
    )


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


def _name(vision: VisionTransformer | ModifiedResNet) -> str:
    if isinstance(vision, ModifiedResNet):
        known = _RESNETS.get((vision.layers, vision.width))
        stages = ",".join(str(n) for n in vision.layers)
        return known or f"ModifiedResNet [{stages}] width {vision.width}, {vision.image_size} px"
    size = _VITS.get((vision.blocks.width, vision.blocks.layers))
    if size is None:
        width, layers = vision.blocks.width, vision.blocks.layers
        return f"ViT width {width}, {layers} layers, patch {vision.patch_size}, {vision.image_size} px"
    at_size = "" if vision.image_size == 224 else f" at {vision.image_size} px"
    return f"ViT-{size}/{vision.patch_size}{at_size}"
