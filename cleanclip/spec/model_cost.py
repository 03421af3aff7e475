"""What a pass of an image through a model costs, by its configuration. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def gflop_per_pass(config: Mapping[str, Any]) -> float:
    """Of one image through the image tower, by the model's canonical config.json."""
    vision = config["model_cfg"]["vision_cfg"]
    side, width, layers = vision["image_size"], vision["width"], vision["layers"]
    if isinstance(layers, int):
        tokens = (side // vision["patch_size"]) ** 2 + 1
        return float(2e-9 * layers * tokens * width * (12 * width + 2 * tokens))
    of_rn50 = 12.2  # 224 pixels, width 64, 16 blocks
    return float(of_rn50 * (side / 224) ** 2 * (width / 64) ** 2 * sum(layers) / 16)
