"""The architectures of test subjects: a small ModifiedResNet or ViT, and a small text tower. No training."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.model import CLIP
from torch import nn

from lab.testbed.options import SubjectOptions
from lab.testbed.pictures import IMAGE_SIZE

VOCABULARY_SIZE = 49408
_PATCH_SIZE = 8


def model_config(options: SubjectOptions) -> dict[str, Any]:
    """The arguments of open_clip's `CLIP`."""
    vision: dict[str, Any] = {"image_size": IMAGE_SIZE}
    if options.tower == "resnet":
        vision |= {"layers": list(options.vision_layers), "width": options.vision_width}
    else:
        width = 8 * options.vision_width
        vision |= {
            "layers": sum(options.vision_layers),
            "width": width,
            "head_width": 32,
            "patch_size": _PATCH_SIZE,
        }
    return {
        "embed_dim": options.embed_dim,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": options.context_length,
            "vocab_size": VOCABULARY_SIZE,
            "width": options.text_width,
            "heads": max(1, options.text_width // 64),
            "layers": options.text_layers,
        },
    }


def build_model(options: SubjectOptions, seed: int) -> CLIP:
    """A CLIP with weights drawn by seed. Every residual branch of a ResNet starts at full strength.

    (open_clip starts BatchNorm's last weight of each branch at 0; with one block a stage the network then
    begins almost linear, and needs one epoch more before it tells digits apart.)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(**model_config(options))
    for name, parameter in model.visual.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(parameter)
    model.visual.to(memory_format=torch.channels_last)
    return model
