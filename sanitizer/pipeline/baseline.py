"""The audit before cleaning, made once per job: a resumed job finds it in its state."""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import Base64Bytes, TypeAdapter, ValidationError

from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.progress import AUDIT_REUSED, Noted
from cleanclip.vocabulary.recipe import AuditOptions, to_json
from cleanclip.vocabulary.settled import SettledArchitecture
from sanitizer.attacks.catalogue import trigger_sha256
from sanitizer.audits.attack_success import Triggered
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.example_images import Seen
from sanitizer.audits.retrieval import RetrievalResult
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.pairs import PairDataset
from sanitizer.pipeline.work_keys import key_of
from sanitizer.run import Run
from sanitizer.whole_files import write_whole

FILE_NAME = "baseline_audit.json"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """An AuditResult as JSON. `key` is over everything that decides it; `correct` and both of
    `triggered` are a bit an image, packed."""

    key: str
    figures: AuditFigures
    labels: tuple[int, ...]
    correct: Base64Bytes
    triggered: tuple[tuple[Base64Bytes, Base64Bytes], ...]
    """Of each attack `is_target_N` and `is_right_N`."""
    towards: tuple[int, ...]
    num_skipped: int
    skipped_examples: tuple[str, ...]
    plain_template_ca: Estimate | None = None
    retrieval: RetrievalResult | None = None
    examples: tuple[Seen, ...] = ()
    """Without images: the audit after cleaning makes them again, and no state holds a customer's."""
    settled_key: str
    settled: SettledArchitecture
    """What the audit was made under: a training that goes on must not settle it otherwise."""

    def __post_init__(self) -> None:
        of_all = (self.correct, *(packed for both in self.triggered for packed in both))
        if any(len(packed) != math.ceil(len(self.labels) / 8) for packed in of_all):
            raise ValueError("not of as many images as there are labels")
        if {len(self.triggered), len(self.towards)} != {len(self.figures.attacks)}:
            raise ValueError("not of as many attacks as were measured")


_KEPT = TypeAdapter(_Kept)


def audit_once(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    options: AuditOptions,
    run: Run,
    *,
    seed: int,
    folder: Path,
    memory: ClassMemory | None = None,
    retrieval_pairs: PairDataset | None = None,
    settled: tuple[str, SettledArchitecture],
) -> AuditResult:
    """The baseline audit: read from `folder` if it is of these very inputs, else made and kept there.

    `settled` is kept with it, under its key, for `settled_before`.
    """
    key = _key(checkpoint, labelled, options, seed, retrieval_pairs)
    path = folder / FILE_NAME
    earlier = _read(path, key, options, seed)
    if earlier is not None:
        run.progress(Noted(level="info", message=AUDIT_REUSED()))
        return earlier
    result = run_audit(
        checkpoint,
        labelled,
        options,
        run,
        seed=seed,
        phase="baseline_audit",
        memory=memory,
        retrieval_pairs=retrieval_pairs,
    )
    folder.mkdir(parents=True, exist_ok=True)
    kept = _Kept(
        key=key,
        figures=result.figures,
        labels=tuple(result.label_N.tolist()),
        correct=packed(result.correct_N),
        triggered=tuple((packed(one.is_target_N), packed(one.is_right_N)) for one in result.triggered),
        towards=result.towards,
        num_skipped=result.num_skipped,
        skipped_examples=result.skipped_examples,
        plain_template_ca=result.plain_template_ca,
        retrieval=result.retrieval,
        examples=tuple(replace(one, images=()) for one in result.examples),
        settled_key=settled[0],
        settled=settled[1],
    )
    write_whole(path, _KEPT.dump_json(kept))
    return result


def settled_before(folder: Path, key: str) -> SettledArchitecture | None:
    """What an earlier attempt of the job settled, if its baseline audit lies in `folder`."""
    kept = _kept(folder / FILE_NAME)
    return kept.settled if kept is not None and kept.settled_key == key else None


def settled_key(checkpoint: LoadedCheckpoint, labelled: LabelledDataset, seed: int) -> str:
    """Over what a measurement of the settings follows from, but for the code: a job that goes on after an
    upgrade keeps what it has trained under. `checkpoint` is as it was read."""
    parts = {
        "weights_sha256": checkpoint.weights_sha256,
        "architecture": checkpoint.architecture.to_config(),
        "declared": checkpoint.provenance.get("declared"),
        "labelled_sha256": labelled.sha256,
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _kept(path: Path) -> _Kept | None:
    try:
        return _KEPT.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _read(path: Path, key: str, options: AuditOptions, seed: int) -> AuditResult | None:
    kept = _kept(path)
    if kept is None or kept.key != key or not _same_triggers(kept.figures, options, seed):
        return None
    return AuditResult(
        figures=kept.figures,
        label_N=torch.tensor(kept.labels),
        correct_N=unpacked(kept.correct, len(kept.labels)),
        triggered=tuple(
            Triggered(
                is_target_N=unpacked(is_target, len(kept.labels)),
                is_right_N=unpacked(is_right, len(kept.labels)),
            )
            for is_target, is_right in kept.triggered
        ),
        towards=kept.towards,
        num_skipped=kept.num_skipped,
        skipped_examples=kept.skipped_examples,
        plain_template_ca=kept.plain_template_ca,
        retrieval=kept.retrieval,
        examples=kept.examples,
    )


def _same_triggers(figures: AuditFigures, options: AuditOptions, seed: int) -> bool:
    """Whether they are the pixels that are drawn here: a font or a decoder may be another on this machine."""
    return [attack.trigger_sha256 for attack in figures.attacks] == [
        trigger_sha256(attack, seed) for attack in options.attacks
    ]


def packed(yes_N: torch.Tensor) -> bytes:
    """A bit for each."""
    return np.packbits(yes_N.numpy()).tobytes()


def unpacked(bits: bytes, num_images: int) -> torch.Tensor:
    """The inverse of `packed`."""
    found = np.unpackbits(np.frombuffer(bits, np.uint8), count=num_images)
    return torch.from_numpy(found.astype(bool))


def _key(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    options: AuditOptions,
    seed: int,
    retrieval_pairs: PairDataset | None,
) -> str:
    parts = {
        "weights_sha256": checkpoint.weights_sha256,
        "architecture": checkpoint.architecture.to_config(),
        "labelled_sha256": labelled.sha256,
        "retrieval_sha256": None if retrieval_pairs is None else retrieval_pairs.sha256,
        "options": to_json(options),
        "seed": seed,
    }
    return key_of(parts)  # a job may go on after an upgrade: one release makes both of its audits
