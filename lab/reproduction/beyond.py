"""What a cleaning does beside zero-shot classification: a linear probe, retrieval, plain corruptions.

Of cells whose weights are there; a row a cell, appended to a raw file. Not held out by itself: who may run
it is the caller's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from cleanclip.spec.recipe import AuditOptions, BadNetOptions, LinearProbeOptions
from cleanclip.spec.report import Estimate
from lab.reproduction.cells import TEST_SEED, Cell, attacked, cell_id, describe, subject_of
from lab.reproduction.data import Corrupt
from lab.reproduction.measuring import audited, made_with
from lab.reproduction.row_files import Rows
from lab.reproduction.running import Folders
from lab.testbed.options import trigger_of
from sanitizer.checkpoints.model import load_canonical

NUM_PAIRS = 1_000
"""To search in."""


def _noise(image_NCHW: Tensor) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    return image_NCHW + 0.1 * torch.randn(image_NCHW.shape, generator=draws)


CORRUPTIONS: dict[str, Corrupt] = {
    "noise, std 0.1": _noise,
    "blur, 3 pixels": lambda image_NCHW: avg_pool2d(
        image_NCHW, 3, stride=1, padding=1, count_include_pad=False
    ),
    "half the contrast": lambda image_NCHW: 0.5 * image_NCHW + 0.25,
}


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """One cell. `probe_asr` None: without an attack that has a trigger. Each with counts and an interval."""

    id: str
    cell: str
    ca: Estimate
    probe_accuracy: Estimate
    probe_asr: Estimate | None
    image_to_text: dict[int, Estimate]
    """Recall by k, among the different captions of 1,000 pairs."""
    text_to_image: dict[int, Estimate]
    corrupted_ca: dict[str, Estimate]
    made_with: dict[str, str]


ROWS = Rows(Beyond)


def measure(cell: Cell, root: Path) -> Beyond:
    """Raises FileNotFoundError where the cell's weights are not below `root`."""
    torch.set_num_threads(1)
    folders, options, seed = Folders(root), subject_of(cell).options, subject_of(cell).seed
    checkpoint, trigger = load_canonical(folders.of(cell)), trigger_of(attacked(cell).attack)
    judged = folders.sets.judged(options, seed, "test")
    pairs = folders.sets.retrieval(options, seed, NUM_PAIRS)
    audit = AuditOptions(
        target=options.target,
        attacks=(trigger or BadNetOptions(),),
        linear_probe=LinearProbeOptions(),
    )
    figures = audited(checkpoint, judged, audit, TEST_SEED + seed, pairs).figures
    assert figures.linear_probe is not None
    assert figures.retrieval is not None
    probed = figures.attacks[0].linear_probe
    plain = AuditOptions(target=options.target, attacks=(BadNetOptions(),))
    return Beyond(
        id=cell_id(cell),
        cell=describe(cell),
        ca=figures.ca,
        probe_accuracy=figures.linear_probe.accuracy,
        probe_asr=probed.asr if trigger is not None and probed is not None else None,
        image_to_text={one.k: one.share for one in figures.retrieval.image_to_text},
        text_to_image={one.k: one.share for one in figures.retrieval.text_to_image},
        corrupted_ca={
            name: audited(
                checkpoint,
                folders.sets.corrupted(options, seed, name.split(",")[0], corrupt),
                plain,
                TEST_SEED + seed,
            ).figures.ca
            for name, corrupt in CORRUPTIONS.items()
        },
        made_with=made_with(),
    )
