"""Measures the weights of a cell: the library's audit on test and on validation images. Trains nothing."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import cleanclip.vocabulary
import lab.testbed
import sanitizer
from cleanclip.vocabulary.attack_options import AttackOptions, BadNetOptions
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.measures import Estimate, TopK
from cleanclip.vocabulary.recipe import AuditOptions
from lab.reproduction.cells import PART_SEEDS
from lab.reproduction.data import Sets
from lab.reproduction.measured import Shares
from lab.testbed.glyphs import Part
from lab.testbed.options import PaperColour, SubjectOptions
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import open_labelled
from sanitizer.run import Run


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Which images a subject of these options and this seed is judged by."""

    sets: Sets
    options: SubjectOptions
    seed: int


def measure(
    checkpoint: LoadedCheckpoint, judged: Judged, attack: AttackOptions | PaperColour | None, part: Part
) -> tuple[Shares, list[bool]]:
    """The shares of one part, and for each of its images whether it is classified right untriggered.

    A semantic attack has no trigger to apply: its images are composed with the feature and audited as a set
    of their own, whose untriggered target rate is the ASR and whose accuracy is the PA.
    """
    options, seed, sets = judged.options, judged.seed, judged.sets
    trigger = attack if attack is not None and not isinstance(attack, PaperColour) else None
    # An audit needs an attack: without one its figures are left out below.
    audit = AuditOptions(target=options.target, attacks=(trigger or BadNetOptions(),))
    audit_seed = PART_SEEDS[part] + seed
    result = _audited(checkpoint, sets.judged(options, seed, part), audit, audit_seed)
    figures, correct = result.figures, result.correct_N.tolist()
    if attack is None:
        return Shares(ca=figures.ca), correct
    if trigger is None:
        on_paper = sets.judged(options, seed, part, on_paper=True)
        return _semantic(figures, _audited(checkpoint, on_paper, audit, audit_seed).figures), correct
    (measured,) = figures.attacks
    return Shares(
        ca=figures.ca,
        asr=measured.asr,
        asr_including_target=measured.asr_including_target,
        asr_top5=_top5(measured.asr_top_k),
        pa=measured.pa,
        untriggered=figures.untriggered_target_rate,
    ), correct


def _audited(checkpoint: LoadedCheckpoint, labelled: Path, options: AuditOptions, seed: int) -> AuditResult:
    """The library's audit of the images in a folder, on the processor."""
    return run_audit(
        checkpoint,
        open_labelled(labelled),
        options,
        Run(device=torch.device("cpu")),
        seed=seed,
        phase="final_audit",
    )


def _semantic(clean: AuditFigures, on_paper: AuditFigures) -> Shares:
    return Shares(
        ca=clean.ca,
        asr=on_paper.untriggered_target_rate,
        asr_top5=_top5(on_paper.untriggered_target_top_k),
        pa=on_paper.ca,
        untriggered=clean.untriggered_target_rate,
    )


def _top5(among: Sequence[TopK]) -> Estimate | None:
    return next((top.share for top in among if top.k == 5), None)


def made_with() -> dict[str, str]:
    """What the figures of a cell were made with, beside its options."""
    return {
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        # Of the library and the test subjects: says which cells were made by one and the same code.
        "code_sha256": sources_sha256(
            *(
                Path(package.__file__ or "").parent
                for package in (cleanclip.vocabulary, sanitizer, lab.testbed)
            )
        ),
    }


def sources_sha256(*folders: Path) -> str:
    """Over the names and bytes of all Python files below each of the folders, in order; some milliseconds."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
