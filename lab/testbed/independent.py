"""Measures weights without the service and without the library's audit: by the plain reference of the tests.

What it is given is a folder with model.safetensors and config.json; `lab.testbed.subject.unpack` makes one
of a research checkpoint, so that not even the reading of an upload is the service's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.recipe import to_json
from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import Pictures, class_names
from lab.testbed.shards import images
from tests.numerics.reference import measure

SHARES = ("ca", "asr", "pa")
ALL_SHARES = (*SHARES, "asr_including_target", "asr_top5", "untriggered")


def figures(
    model_folder: Path,
    glyphs: Glyphs,
    test: Pictures,
    *,
    target: str,
    attack: AttackOptions,
    seed: int,
    shares: Sequence[str] = SHARES,
) -> dict[str, dict[str, Any]]:
    """CA, ASR and PA, or those of `ALL_SHARES` that are asked for: value, n, successes, low and high each."""
    measured = measure(
        model_folder,
        images=list(images(test)),
        labels=test.label_N.tolist(),
        class_names=class_names(glyphs),
        templates=glyphs.zero_shot_templates,
        target=target,
        attack=to_json(attack),
        seed=seed,
    )
    measured["asr_top5"] = measured["asr_top_k"][5]
    measured["untriggered"] = measured["untriggered_target_rate"]
    return {share: measured[share] for share in shares}
