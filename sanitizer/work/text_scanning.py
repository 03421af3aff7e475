"""A text scan's job: inputs/ → report.json."""

from pathlib import Path

from cleanclip.kinds.text_scan import TextScanSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import text_scan as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run
from sanitizer.training.device import pick


def do(spec: TextScanSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises SanitizerErrors but TrainingDiverged."""
    run = Run(device=pick(), progress=progress, stop=stop)
    pipeline.text_scan(Places.of_job(folder, spec), spec, run)
