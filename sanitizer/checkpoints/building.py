"""Architecture → open_clip's `CLIP`, on any device; on "meta" it costs nothing. Reads no file."""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from torch import Tensor

from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.rejection import refusal
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


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Key → shape of the state dict of this architecture, in open_clip's order."""
    state = build_clip(architecture, device="meta").state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def assemble(architecture: Architecture, tensors: dict[str, Tensor]) -> CLIP:
    """The model with exactly these fp32 tensors as its weights (no copy), in eval mode, on the CPU."""
    model = build_clip(architecture, device="meta")
    model.load_state_dict(tensors, strict=True, assign=True)
    if architecture.text.causal:
        model.register_buffer("attn_mask", causal_mask(architecture.context_length), persistent=False)
    return model.eval()
