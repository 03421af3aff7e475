"""Architecture → a SigLIP, of open_clip's own parts and timm's. Reads no file.

open_clip builds the image tower from timm by a name, which only published shapes have. Here timm's class is
given the shape instead; a test holds the result against open_clip's own models, tensor by tensor.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from open_clip.model import CustomTextCLIP, _build_text_tower
from torch import Tensor, nn

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.siglip_configs import PooledTransformer

if sys.modules.get("timm", sys) is None:  # a child makes it unimportable, for all models but this one
    del sys.modules["timm"]

from timm.layers.norm import LayerNorm
from timm.models.vision_transformer import VisionTransformer


class Siglip(CustomTextCLIP):  # type: ignore[misc]  # open_clip has no types
    """`encode_image`, `encode_text` and the names of the tensors are open_clip's."""

    def __init__(self, architecture: Architecture, vision: PooledTransformer) -> None:
        nn.Module.__init__(self)
        config = architecture.to_config()["model_cfg"]
        self.output_dict = False
        self.visual = _Visual(vision)
        self.text = _build_text_tower(architecture.embed_dim, config["text_cfg"])
        self.context_length, self.vocab_size = architecture.context_length, architecture.text.vocab_size
        shape = (1,) if architecture.logit_scale_is_vector else ()
        self.logit_scale = nn.Parameter(torch.zeros(shape))
        self.logit_bias = nn.Parameter(torch.zeros(shape)) if architecture.logit_bias else None

    @property
    def token_embedding(self) -> nn.Embedding:
        """Where training looks for it in a `CLIP`."""
        table: nn.Embedding = self.text.token_embedding
        return table


class _Visual(nn.Module):
    """open_clip's `TimmModel`, which adds nothing to a trunk that pools and does not project."""

    def __init__(self, vision: PooledTransformer) -> None:
        super().__init__()
        blocks = vision.blocks
        self.trunk = VisionTransformer(
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
