"""The two towers of a CLIP as frozen values, and their form in open_clip's configuration files.

Every shape that open_clip's `CLIP` class can build with its own ViT, ModifiedResNet and text transformer.
Other towers (timm, Hugging Face text models, attentional pooling) are refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cleanclip.vocabulary.errors import CheckpointRejected
from sanitizer.checkpoints.rejection import excerpt, refusal

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

    @property
    def mlp_ratio(self) -> float:
        """The ratio r with int(width * r) == mlp_width, which is how open_clip computes the width."""
        ratio = self.mlp_width / self.width
        return ratio if int(self.width * ratio) == self.mlp_width else (self.mlp_width + 0.5) / self.width


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


_BLOCK_KEYS = {"width", "layers", "mlp_ratio", "ls_init_value", "act_kwargs", "norm_kwargs", *_FEATURES}
_VISION_KEYS = _BLOCK_KEYS | {
    "head_width", "patch_size", "image_size", "no_ln_pre", "pos_embed_type", "final_ln_after_pool",
    "pool_type", "patch_dropout",
}  # fmt: skip
_TEXT_KEYS = _BLOCK_KEYS | {
    "heads", "context_length", "vocab_size", "no_causal_mask", "pool_type", "eos_id", "proj_type",
    "proj_bias",
}  # fmt: skip


_SUPPORTED = (
    "Use a checkpoint of open_clip's with its own ViT or ModifiedResNet, a SigLIP's image tower or a "
    "published ConvNeXt, EVA, MobileCLIP, ViTamin or Perception Encoder, and with open_clip's own text tower."
)


def unsupported(what: str) -> CheckpointRejected:
    return refusal(
        "config_unsupported",
        f"The configuration asks for '{what}', which is not a part of the plain CLIP that is supported.",
        _SUPPORTED,
        where=what,
    )


def unsupported_tower(name: object) -> CheckpointRejected:
    """Of a tower by its library's name, in a configuration."""
    return refusal(
        "config_unsupported",
        f"The configuration names the tower '{excerpt(name, 60)}', which is not supported.",
        _SUPPORTED,
        where="model_cfg",
    )


def refuse_unknown(config: Mapping[str, Any], known: set[str], section: str) -> None:
    for key in config:
        if key not in known and config[key] not in (None, False):
            raise unsupported(f"{section}.{key}")


def _block_config(blocks: Blocks, *, gelu_tanh: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"width": blocks.width, "layers": blocks.layers}
    config["mlp_ratio"] = blocks.mlp_ratio
    if blocks.layer_scale:
        config["ls_init_value"] = 1e-5  # the initial value only; the trained one is among the weights
    if gelu_tanh:
        config["act_kwargs"] = {"approximate": "tanh"}
    if blocks.norm_eps != DEFAULT_NORM_EPS:
        config["norm_kwargs"] = {"eps": blocks.norm_eps}
    config.update({name: True for name in _FEATURES if getattr(blocks, name)})
    return config


def vision_config(vision: VisionTransformer | ModifiedResNet, *, gelu_tanh: bool) -> dict[str, Any]:
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


def text_config(text: TextTransformer, *, gelu_tanh: bool) -> dict[str, Any]:
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


def read_vision(config: Mapping[str, Any]) -> VisionTransformer | ModifiedResNet:
    refuse_unknown(config, _VISION_KEYS, "vision_cfg")
    head_width = int(config.get("head_width", 64))
    image_size = config.get("image_size", 224)
    if not isinstance(image_size, int):
        raise unsupported("vision_cfg.image_size that is not square")
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
        raise unsupported("vision_cfg.pool_type")
    return VisionTransformer(
        blocks=_read_blocks(config, width=width, heads=width // head_width),
        patch_size=int(config.get("patch_size", 16)),
        image_size=image_size,
        ln_pre=not config.get("no_ln_pre", False),
        pool=config.get("pool_type", "tok"),
        final_ln_after_pool=bool(config.get("final_ln_after_pool", False)),
        position_table=config.get("pos_embed_type", "learnable"),
    )


def read_text(config: Mapping[str, Any]) -> TextTransformer:
    refuse_unknown(config, _TEXT_KEYS, "text_cfg")
    if config.get("pool_type", "argmax") not in ("argmax", "eos", "first", "last"):
        raise unsupported("text_cfg.pool_type")
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
