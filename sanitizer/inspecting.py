"""Hostile bytes → canonical weights and findings. Loads torch; neither open_clip nor torchvision."""

from __future__ import annotations

from pathlib import Path

from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.jobspec import Inspection
from sanitizer.progress import PhaseFinished, PhaseStarted, Progress, ignore
from sanitizer.recipe import DeclaredOptions


def inspect(
    upload: Path,
    out_dir: Path,
    *,
    declared: DeclaredOptions,
    filename: str,
    expected_sha256: str | None = None,
    progress: Progress = ignore,
) -> Inspection:
    """Hostile bytes → canonical weights and findings in `out_dir`. Raises CheckpointRejected."""
    progress(PhaseStarted(phase="inspect", total=None, unit="bytes"))
    inspection = inspect_upload(
        upload, out_dir, declared=declared, filename=filename, expected_sha256=expected_sha256
    )
    progress(PhaseFinished(phase="inspect"))
    return inspection
