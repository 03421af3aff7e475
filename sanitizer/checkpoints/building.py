"""Architecture → open_clip's `CLIP`, on any device; on "meta" it costs nothing. Reads no file."""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from torch import Tensor

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.rejection import excerpt, refusal
from sanitizer.checkpoints.tensors import causal_mask


def build_clip(architecture: Architecture, *, device: str = "cpu") -> CLIP:
    """A freshly initialised CLIP in fp32. Raises CheckpointRejected where open_clip refuses the shape."""
    config = architecture.to_config()["model_cfg"]
    try:
        with torch.device(device):
            return CLIP(**config)
    except (AssertionError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise refusal(
            "architecture_not_buildable",
            f"open_clip cannot build {architecture.name}: {error}.",
            "Check the declared options (numbers of heads, image size) against the model that was trained.",
        ) from error


def assemble(architecture: Architecture, tensors: dict[str, Tensor]) -> CLIP:
    """The model with exactly these fp32 tensors as its weights (no copy), in eval mode, on the CPU.

    Raises CheckpointRejected 'architecture_mismatch' where open_clip's own keys or shapes are others.
    """
    model = build_clip(architecture, device="meta")
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise refusal(
            "architecture_mismatch",
            f"open_clip's {architecture.name} has other keys or shapes than these tensors: "
            f"{excerpt(error, 200)}",
            "Upload the complete, unmodified state dict of one CLIP model.",
        ) from error
    if architecture.text.causal:
        model.register_buffer("attn_mask", causal_mask(architecture.context_length), persistent=False)
    return model.eval()
