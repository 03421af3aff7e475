"""A validate job: inputs/pairs or inputs/labelled → dataset.json, drawn_samples.json. Free of torch."""

from __future__ import annotations

from pathlib import Path

from sanitizer import jobspec, validating
from sanitizer.jobspec import ValidateSpec
from sanitizer.progress import Progress, Stop


def do(spec: ValidateSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Raises DatasetRejected, Interrupted."""
    validating.validate(
        folder / (jobspec.PAIRS_PATH if spec.data_kind == "pairs" else jobspec.LABELLED_PATH),
        spec.data_kind,
        folder / jobspec.OUTPUTS_PATH,
        max_skipped_share=spec.max_skipped_share,
        draw_seed=spec.seed,
        progress=progress,
        stop=stop,
    )
