"""Hostile bytes → canonical weights and findings. Refuses what it can before torch is loaded.

What is left is read with torch, loaded by name only then; neither open_clip nor torchvision is needed.
"""

import importlib
from pathlib import Path

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import Inspection
from cleanclip.vocabulary.progress import PhaseFinished, PhaseStarted, Progress, ignore
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints.containers import check_container
from sanitizer.checkpoints.digests import check_digest


def inspect(
    upload: Path,
    out_dir: Path,
    *,
    declared: DeclaredOptions,
    filename: str,
    beside: Path | None = None,
    expected_sha256: str | None = None,
    scanner_time_limit_s: float = 0.0,
    progress: Progress = ignore,
) -> Inspection:
    """Hostile bytes → canonical weights and findings in `out_dir`. Raises CheckpointRejected.

    `beside`: a folder with the configurations that lie beside the upload, where it is a file.
    `scanner_time_limit_s`: for each scanner that adds evidence; 0 runs none.
    """
    if not upload.exists():
        raise CheckpointRejected(
            "not_found", f"There is no file or folder {upload.name}.", "Check the path.", where=str(upload)
        )
    progress(PhaseStarted(phase="inspect", total=None, unit="bytes"))
    if upload.is_file():
        try:
            check_container(upload)
        except CheckpointRejected:
            check_digest(upload, expected_sha256)  # bytes damaged on their way are refused as that
            raise
    gate = importlib.import_module("sanitizer.checkpoints.inspection")
    inspection: Inspection = gate.inspect_upload(
        upload,
        out_dir,
        declared=declared,
        filename=filename,
        beside=beside,
        expected_sha256=expected_sha256,
        scanner_time_limit_s=scanner_time_limit_s,
    )
    progress(PhaseFinished(phase="inspect"))
    return inspection
