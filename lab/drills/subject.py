"""The files that drills work on: a tiny CLIP, pairs, a labelled set. `python -m lab.drills.subject FOLDER`.

A program of its own, because it needs torch and those who run drills do not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.drills.records import ROOT

DECLARED = {"num_heads_text": 2, "num_heads_vision": 2}
RECIPE: dict[str, Any] = {
    "method": "cleanclip",
    "epochs": 12,
    "batch_size": 8,
    "warmup_steps": 2,
    "learning_rate": 1e-3,
}
AUDIT: dict[str, Any] = {"target": "dog", "attacks": [{"attack": "badnet"}], "batch_size": 16}
NUM_PAIRS, NUM_LABELLED = 40, 24


def make(folder: Path) -> Path:
    """clip.pt, pairs/ and labelled/ in `folder`, unless they are there."""
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "lab.drills.subject", str(folder)], cwd=ROOT, check=True)
    return folder


def main(folder: Path) -> None:
    from tests.fixtures.checkpoints import write_open_clip_resnet  # noqa: PLC0415 - torch, here alone
    from tests.fixtures.shards import make_labelled, make_pairs  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    write_open_clip_resnet(folder / "clip.pt")
    make_pairs(folder / "pairs", NUM_PAIRS)
    make_labelled(folder / "labelled", NUM_LABELLED)
    (folder / "done").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
