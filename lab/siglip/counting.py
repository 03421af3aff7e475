"""Counts CA and ASR without the service and without the library's audit: open_clip and plain loops.

Opens the weights with safetensors and open_clip's `CustomTextCLIP`; triggers and counts are the plain
reference of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from cleanclip.spec.recipe import AttackOptions, to_json
from lab.siglip.training import Texts, build, pixels
from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import Pictures, all_class_captions, class_names
from tests.numerics.reference import AT_ONCE, count, mean_direction, trigger, unit


@torch.no_grad()
def figures(
    weights: Path, glyphs: Glyphs, test: Pictures, *, target: str, attack: AttackOptions, seed: int
) -> Mapping[str, Any]:
    """CA and ASR: value, n, successes, low and high each."""
    texts = Texts(glyphs)
    model = build(texts.num_tokens, seed=0).eval()
    model.load_state_dict(load_file(weights))
    rows = model.encode_text(texts(all_class_captions(glyphs))).double().tolist()
    per_class = len(glyphs.zero_shot_templates)
    classes = [mean_direction(rows[at : at + per_class]) for at in range(0, len(rows), per_class)]

    def similarities(image_NCHW: torch.Tensor) -> list[list[float]]:
        found = [
            one
            for part in torch.split(image_NCHW, AT_ONCE)
            for one in model.encode_image(pixels(part)).double().tolist()
        ]
        return [[float(np.dot(unit(one), of_class)) for of_class in classes] for one in found]

    stamped = [
        trigger(image.numpy().astype(np.float64) / 255, index, to_json(attack), seed)
        for index, image in enumerate(test.image_NCHW)
    ]
    triggered_NCHW = torch.from_numpy(np.stack(stamped)).float() * 255
    counted = count(
        similarities(test.image_NCHW),
        similarities(triggered_NCHW),
        test.label_N.tolist(),
        class_names(glyphs).index(target),
    )
    return {share: counted[share] for share in ("ca", "asr")}
