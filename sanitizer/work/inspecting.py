"""An inspect job: inputs/upload → canonical weights and findings. Loads torch, no model code."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import InspectSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.checkpoints.scanners import is_safetensors, scan
from sanitizer.pipeline import inspecting


def do(spec: InspectSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises CheckpointRejected, with what other scanners say of the file.

    Not to be stopped: it is short, and nothing of it would be kept.
    """
    beside = folder / jobspec.BESIDE_PATH
    upload, time_limit_s = folder / jobspec.UPLOAD_PATH, spec.scanner_time_limit_s
    try:
        inspecting.inspect(
            upload,
            folder / jobspec.OUTPUTS_PATH,
            declared=spec.declared,
            filename=spec.filename,
            beside=beside if beside.is_dir() else None,
            expected_sha256=spec.expected_sha256,
            scanner_time_limit_s=time_limit_s,
            progress=progress,
        )
    except CheckpointRejected as refusal:
        refusal.scanners = scan(upload, is_pickle=not is_safetensors(upload), time_limit_s=time_limit_s)
        raise
