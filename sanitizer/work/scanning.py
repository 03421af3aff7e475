"""A scan job: inputs/ and perhaps state/ → report.json."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import ScanSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.pipeline import scan as pipeline
from sanitizer.pipeline.judging_null import read_null


def do(spec: ScanSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    pipeline.scan(
        folder / jobspec.CHECKPOINT_PATH,
        folder / jobspec.LABELLED_PATH,
        spec.scan,
        folder / jobspec.OUTPUTS_PATH,
        null=read_null(folder / jobspec.NULL_PATH) if spec.has_null else None,
        anchor_folder=folder / jobspec.ANCHOR_PATH if spec.has_anchor else None,
        audit_next=spec.audit,
        state_folder=folder / jobspec.STATE_PATH,
        save_every_s=spec.save_every_s,
        seed=spec.seed,
        upload_sha256=spec.upload_sha256,
        progress=progress,
        stop=stop,
    )
