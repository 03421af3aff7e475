"""An audit job: inputs/ → report.json."""

from __future__ import annotations

from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import AuditSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.pipeline import operations as pipeline


def do(spec: AuditSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    pipeline.audit(
        folder / jobspec.CHECKPOINT_PATH,
        folder / jobspec.LABELLED_PATH,
        spec.audit,
        folder / jobspec.OUTPUTS_PATH,
        retrieval_path=folder / jobspec.RETRIEVAL_PATH if spec.has_retrieval else None,
        exclude=[folder / jobspec.exclude_path(role) for role in spec.exclude],
        labelled_part=spec.labelled_part,
        policy=spec.policy,
        policy_source=spec.policy_source,
        scan_section=spec.scan_section,
        seed=spec.seed,
        upload_sha256=spec.upload_sha256,
        progress=progress,
        stop=stop,
    )
