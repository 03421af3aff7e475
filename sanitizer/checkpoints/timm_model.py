"""Architecture → a CLIP whose image tower is timm's, or whose text tower is apart, of the libraries' parts.

open_clip builds a tower of timm's by its name, and so do we where the table of published towers has the name.
A SigLIP's has one for published shapes only; there timm's class is given the shape instead. Tests hold the
results against open_clip's own models, tensor by tensor. Reads no file.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial

import open_clip.timm_model
import torch
from open_clip.model import CLIP, CustomTextCLIP, _build_text_tower, _build_vision_tower
from torch import Tensor, nn

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.rejection import refusal
from sanitizer.checkpoints.siglip_configs import PooledTransformer

if sys.modules.get("timm", sys) is None:  # a child makes it unimportable, for all models but these
    del sys.modules["timm"]
    importlib.reload(open_clip.timm_model)  # it has looked for timm, in vain

import timm
from timm.layers.norm import LayerNorm
from timm.models import vision_transformer as timm_vit


class TextApart(CustomTextCLIP):  # type: ignore[misc]  # open_clip has no types
    """`encode_image`, `encode_text` and the names of the tensors are open_clip's."""

    def __init__(self, architecture: Architecture) -> None:
        nn.Module.__init__(self)
        config = architecture.to_config()["model_cfg"]
        self.output_dict = False
        self.visual = _visual(architecture)
        self.text = _build_text_tower(architecture.embed_dim, config["text_cfg"], architecture.quick_gelu)
        self.context_length, self.vocab_size = architecture.context_length, architecture.text.vocab_size
        shape = (1,) if architecture.logit_scale_is_vector else ()
        self.logit_scale = nn.Parameter(torch.zeros(shape))
        self.logit_bias = nn.Parameter(torch.zeros(shape)) if architecture.logit_bias else None

    @property
    def token_embedding(self) -> nn.Embedding:
        """Where training looks for it in a `CLIP`."""
        table: nn.Embedding = self.text.token_embedding
        return table


def build_with_timm(architecture: Architecture) -> CLIP | TextApart:
    """On the default device, with the library's initial values."""
    if architecture.has_text_apart:
        return TextApart(architecture)
    config = architecture.to_config()["model_cfg"]
    return CLIP(**config)


def compute_buffers(model: nn.Module) -> None:
    """Buffers that are in no file, of a model that was built on "meta": timm computes them again.

    Raises CheckpointRejected 'architecture_not_buildable' where timm, before 1.0.23, does not.
    """
    for module in model.modules():
        missing = [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for name in missing:
            empty = torch.empty_like(module.get_buffer(name), device="cpu")
            module.register_buffer(name, empty.fill_(torch.nan), persistent=False)
        compute: Callable[[], None] | None = getattr(module, "init_non_persistent_buffers", None)
        if missing and compute is not None:
            compute()
        for name in missing:
            if module.get_buffer(name).isnan().any():
                raise refusal(
                    "architecture_not_buildable",
                    f"timm {timm.__version__} does not compute '{name}' of {type(module).__name__}.",
                    "Install timm 1.0.23 or a later 1.0 in the worker's environment.",
                )


def _visual(architecture: Architecture) -> nn.Module:
    vision = architecture.vision
    if isinstance(vision, PooledTransformer):
        return _Pooled(vision)
    config = architecture.to_config()["model_cfg"]["vision_cfg"]
    visual: nn.Module = _build_vision_tower(architecture.embed_dim, config, architecture.quick_gelu)
    return visual


class _Pooled(nn.Module):
    """open_clip's `TimmModel`, which adds nothing to a trunk that pools and does not project."""

    def __init__(self, vision: PooledTransformer) -> None:
        super().__init__()
        blocks = vision.blocks
        self.trunk = timm_vit.VisionTransformer(
            img_size=vision.image_size,
            patch_size=vision.patch_size,
            num_classes=0,
            global_pool="map",
            embed_dim=blocks.width,
            depth=blocks.layers,
            num_heads=blocks.heads,
            mlp_ratio=blocks.mlp_ratio,
            class_token=False,
            act_layer="gelu_tanh" if vision.gelu_tanh else "gelu",
            norm_layer=partial(LayerNorm, eps=blocks.norm_eps),
        )

    def forward(self, image_NCHW: Tensor) -> Tensor:
        features: Tensor = self.trunk(image_NCHW)
        return features
