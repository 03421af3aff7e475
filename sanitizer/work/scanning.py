"""A scan job: inputs/ and perhaps state/ → report.json."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import scan as pipeline
from sanitizer.pipeline.judging_null import read_null
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick


def do(spec: ScanSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    null = read_null(folder / jobspec.NULL_PATH) if spec.has_null else None
    run = Run(device=pick(), progress=progress, stop=stop)
    pipeline.scan(Places.of_job(folder, spec), spec, run, null=null)
