"""An audit job: inputs/ → report.json."""

from pathlib import Path

from cleanclip.vocabulary.jobspec import AuditSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import operations as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick


def do(spec: AuditSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    run = Run(device=pick(), progress=progress, stop=stop)
    pipeline.audit(Places.of_job(folder, spec), spec, run)
