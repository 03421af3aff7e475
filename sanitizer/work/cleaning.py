"""A sanitize job: inputs/ and perhaps state/ → cleaned weights and report.json."""

from dataclasses import replace
from pathlib import Path

from cleanclip.vocabulary.jobspec import SanitizeSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import operations as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick


def do(spec: SanitizeSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """The uploaded layout, where it is ordered, a fresh child makes of what was checked. Raises every
    SanitizerError."""
    spec = replace(spec, output_layout="open_clip")
    run = Run(device=pick(), progress=progress, stop=stop)
    pipeline.sanitize(Places.of_job(folder, spec), spec, run)
