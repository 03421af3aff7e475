"""The audit before cleaning, as a job's process left it beside its training states, for a job that failed.

The figures are the process's words, as those of a report are; unlike a report nobody signs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cleanclip.spec.jobspec import STATE_PATH
from cleanclip.spec.report import AuditFigures
from worker.confinement.child_json import fit_for_a_row, read_regular
from worker.publishing.publish import shown_figures
from worker.training_states import BESIDE

_MAX_BYTES = 8 * 1024 * 1024
"""Some 700,000 images, of each of which the file says its class, and 20 attacks, of which it says two bits an
image. To read it takes at most eight times that memory."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Of the file (`sanitizer.pipeline.baseline`) what is told."""

    figures: AuditFigures


_KEPT = TypeAdapter(_Kept)


def figures_before(job_folder: Path) -> dict[str, Any] | None:
    """As a job's result holds them. None where the audit was not made, or cannot be read."""
    path = job_folder / STATE_PATH / BESIDE
    try:
        return fit_for_a_row(shown_figures(_KEPT.validate_json(read_regular(path, _MAX_BYTES)).figures))
    except (OSError, ValueError, ValidationError):
        return None
