"""A data set, read once as a whole → its summary. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sanitizer.data.validation import summarise
from sanitizer.jobspec import DATASET_ADAPTER, DATASET_NAME, DatasetSummary
from sanitizer.progress import Progress, Stop, ignore, never


def validate(
    data: Path,
    kind: Literal["pairs", "labelled"],
    out_dir: Path,
    *,
    max_skipped_share: float,
    progress: Progress = ignore,
    stop: Stop = never,
) -> DatasetSummary:
    """Read every sample once; dataset.json in `out_dir`. Raises DatasetRejected, Interrupted."""
    summary = summarise(data, kind, max_skipped_share, progress, stop)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / DATASET_NAME).write_bytes(DATASET_ADAPTER.dump_json(summary, indent=2))
    return summary
