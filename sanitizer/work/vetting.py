"""A vet job: inputs/ → report.json, the scores and the list of samples to leave out."""

from pathlib import Path

from cleanclip.vocabulary.jobspec import VetSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import vetting as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick


def do(spec: VetSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    run = Run(device=pick(), progress=progress, stop=stop)
    pipeline.vet(Places.of_job(folder, spec), spec, run)
