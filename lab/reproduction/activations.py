"""What an image tower holds of images, layer by layer. Trains nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.pixels import normalise


def layers_of(checkpoint: LoadedCheckpoint, image_NCHW: Tensor) -> dict[str, Tensor]:
    """Per layer a row for each image; pixels are in [0, 1]. The last layer is "embedding", in unit rows."""
    visual, found = checkpoint.model.visual, {}
    is_vit = hasattr(visual, "transformer")
    blocks = (
        list(visual.transformer.resblocks) if is_vit else [getattr(visual, f"layer{n}") for n in (1, 2, 3, 4)]
    )

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            if is_vit:
                found[name] = output[:, 0] if visual.transformer.batch_first else output[0]
            else:
                found[name] = output.mean(dim=(2, 3))

        return hook

    hooks = [block.register_forward_hook(keep(str(n))) for n, block in enumerate(blocks, 1)]
    architecture = checkpoint.architecture
    try:
        with torch.no_grad():
            pixels = normalise(image_NCHW, architecture.image_mean, architecture.image_std)
            found["embedding"] = normalize(checkpoint.model.encode_image(pixels), dim=-1)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: rows.double() for name, rows in found.items()}
