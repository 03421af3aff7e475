"""A validate job: inputs/pairs or inputs/labelled → dataset.json, drawn_samples.json. Free of torch."""

from pathlib import Path

from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.jobspec import ValidateSpec
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.pipeline import validating


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
