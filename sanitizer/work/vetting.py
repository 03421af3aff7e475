"""A vet job: inputs/ → report.json, the scores and the list of samples to leave out."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import VetSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.pipeline import vetting as pipeline


def do(spec: VetSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    pipeline.vet(
        folder / jobspec.CHECKPOINT_PATH,
        folder / jobspec.PATH_OF_ROLE[spec.data_kind],
        spec.data_kind,
        spec.vet,
        folder / jobspec.OUTPUTS_PATH,
        anchor_folder=folder / jobspec.ANCHOR_PATH if spec.has_anchor else None,
        trusted_path=folder / jobspec.TRUSTED_PATH if spec.has_trusted else None,
        seed=spec.seed,
        state_folder=folder / jobspec.STATE_PATH,
        upload_sha256=spec.upload_sha256,
        progress=progress,
        stop=stop,
    )
