"""The state that a model is measured in, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from cleanclip.vocabulary.recipe import AuditPrecision

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint


@contextmanager
def measuring(
    checkpoint: LoadedCheckpoint, device: torch.device, precision: AuditPrecision = "fp32"
) -> Iterator[None]:
    """The model on `device` in eval mode, no gradients; float32 is full float32 everywhere. For bf16, where
    that is faster, its weights lie channels last from then on."""
    model = checkpoint.model
    was_training, matmul_precision = model.training, torch.get_float32_matmul_precision()
    model.to(device).eval()
    if precision == "bf16":
        model.to(memory_format=torch.channels_last)
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul_precision)
        model.train(was_training)
