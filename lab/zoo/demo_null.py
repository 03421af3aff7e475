"""The null of the demo's scan, from the zoo's first clean models of digits.

`make zoo` builds it once these models are made and scanned. Weights that were dropped are made again from
their seed; what was measured before an interruption is kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.null_set import NullSet, dump_null, load_null
from demo import labelled
from demo.recipe import NULL_PATH, SCAN, SCAN_SEED
from lab.zoo.plan import BedName, Model, model
from lab.zoo.rows import ModelRow, read_models
from lab.zoo.running import Folders, opened_or_made
from sanitizer.data.labelled import open_labelled
from sanitizer.pipeline.nulls import Reference, always, build_null
from sanitizer.pipeline.places import Places
from sanitizer.run import Run

ROOT = Path(__file__).resolve().parents[2]
BED: BedName = "digits-resnet"
NUM_MODELS = 20
NAME = "demo-digits"
ABOUT = (
    "{num} small CLIP models that the zoo of docs/scanning.md trained on clean images of handwritten digits, "
    "seeds {first} to {last}, with the recipe of the demo's poisoned model. None was poisoned."
)


def update(rows: Path, weights: Path, path: Path = NULL_PATH, *, say: Callable[[str], None] = print) -> bool:
    """Write the null to `path` unless it is there already; whether all of its models were made.

    Raises what `build_null` and `make` raise.
    """
    known = read_models(rows)
    models = [model("calibration", BED, number) for number in range(NUM_MODELS)]
    if any(one.name not in known for one in models):
        return False
    with tempfile.TemporaryDirectory(prefix="demo-null-") as scratch:
        labelled.write(Path(scratch))
        if not _is_current(path, [known[one.name] for one in models], open_labelled(Path(scratch)).sha256):
            null = build(models, Path(scratch), Folders(rows=rows, weights=weights), say)
            path.write_bytes(dump_null(null))
            say(f"{path}: the statistics of {len(models)} clean models.")
    return True


def build(models: list[Model], images: Path, folders: Folders, say: Callable[[str], None]) -> NullSet:
    """The null of these models on the labelled set in `images`."""
    for one in models:
        opened_or_made(one, folders.weights / one.name, folders.rows, say)
    return build_null(
        [Reference(source=one.name, obtain=always(folders.weights / one.name)) for one in models],
        Places(checkpoint=folders.weights, data=images, state=ROOT / "var" / "demo-null"),
        ScanSpec(scan=SCAN, seed=SCAN_SEED),
        Run(device=torch.device("cpu")),
        name=NAME,
        about=ABOUT.format(num=len(models), first=models[0].seed, last=models[-1].seed),
    )


def _is_current(path: Path, rows: list[ModelRow], images_sha256: str) -> bool:
    """Whether the file is a null of these weights and images, with the options of today's scan."""
    try:
        null = load_null(path.read_bytes())
    except (OSError, OptionsRejected):
        return False
    measured = [one.statistics.weights_sha256 for one in null.models]
    is_of_these = measured == [row.weights_sha256 for row in rows] and null.images_sha256 == images_sha256
    return is_of_these and null.options == SCAN and null.seed == SCAN_SEED
