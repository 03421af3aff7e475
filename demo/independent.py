"""Measures files outside the service, with the plain reference of the tests.

The poisoned file is turned into safetensors by `testbed.subject.unpack`, so that not even the reading of the
upload is the service's. Knows no service.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo.recipe import ATTACK, TARGET
from sanitizer.recipe import to_json
from testbed.glyphs import digits
from testbed.pictures import Pictures, class_names
from testbed.shards import images
from tests.numerics.reference import measure

SHARES = ("ca", "asr", "pa")


def figures(model_folder: Path, test: Pictures, *, seed: int) -> dict[str, dict[str, Any]]:
    """CA, ASR and PA, each with value, n, successes, low and high."""
    measured = measure(
        model_folder,
        images=list(images(test)),
        labels=test.label_N.tolist(),
        class_names=class_names(digits()),
        templates=digits().zero_shot_templates,
        target=TARGET,
        attack=to_json(ATTACK),
        seed=seed,
    )
    return {share: measured[share] for share in SHARES}
