"""A dataset, read once as a whole → its summary. Free of torch."""

from pathlib import Path
from typing import Literal

from cleanclip.vocabulary.jobspec import (
    DATASET_ADAPTER,
    DATASET_NAME,
    DRAWN_ADAPTER,
    DRAWN_NAME,
    DatasetSummary,
)
from cleanclip.vocabulary.progress import Progress, Stop, ignore, never_stop
from sanitizer.data.draw import SampleDraw
from sanitizer.data.validation import summarise


def validate(
    data: Path,
    kind: Literal["pairs", "labelled"],
    out_dir: Path,
    *,
    max_skipped_share: float,
    draw_seed: int | None = None,
    progress: Progress = ignore,
    stop: Stop = never_stop,
) -> DatasetSummary:
    """Read every sample once; dataset.json in `out_dir` and, with a seed to draw them by, drawn_samples.json.

    Raises DatasetRejected, Interrupted.
    """
    draw = None if draw_seed is None else SampleDraw(draw_seed)
    summary = summarise(data, kind, max_skipped_share, progress, stop, draw=draw)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / DATASET_NAME).write_bytes(DATASET_ADAPTER.dump_json(summary, indent=2))
    if draw is not None:
        (out_dir / DRAWN_NAME).write_bytes(DRAWN_ADAPTER.dump_json(draw.drawn()))
    return summary
