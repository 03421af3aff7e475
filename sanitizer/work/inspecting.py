"""An inspect job: inputs/upload → canonical weights and findings. Loads torch, no model code."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import InspectSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.pipeline import inspecting


def do(spec: InspectSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises CheckpointRejected. Not to be stopped: it is short, and nothing of it would be kept."""
    inspecting.inspect(
        folder / jobspec.UPLOAD_PATH,
        folder / jobspec.OUTPUTS_PATH,
        declared=spec.declared,
        filename=spec.filename,
        expected_sha256=spec.expected_sha256,
        scanner_time_limit_s=spec.scanner_time_limit_s,
        progress=progress,
    )
