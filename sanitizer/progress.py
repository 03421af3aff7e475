"""How the library tells whoever called it where it stands. Free of torch; knows no job, no queue.

The library calls a `Progress`; the command line draws a bar from it, the child process of a worker
writes it as JSON lines, tests collect it in a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["inspect", "validate", "baseline_audit", "finetune", "final_audit"]


@dataclass(frozen=True, kw_only=True)
class PhaseStarted:
    """A phase begins; `total` counts `unit`s ('images', 'steps', 'samples', 'bytes') or is unknown."""

    type: Literal["phase_started"] = "phase_started"
    phase: Phase
    total: int | None
    unit: str


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """`done` of the phase's `total` units are finished; `rate` is in `rate_unit` a second ('pairs')."""

    type: Literal["advanced"] = "advanced"
    phase: Phase
    done: int
    total: int | None
    rate: float | None = None
    rate_unit: str | None = None
    eta_s: float | None = None
    message: str | None = None
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseFinished:
    type: Literal["phase_finished"] = "phase_finished"
    phase: Phase


@dataclass(frozen=True, kw_only=True)
class StateSaved:
    """A resumable training state is complete on disk: `path` is a folder relative to the job folder.

    `is_good`: it was saved while the loss was, and is kept until there is a later one of which that is true.
    """

    type: Literal["state_saved"] = "state_saved"
    path: str
    step: int
    is_good: bool = False


@dataclass(frozen=True, kw_only=True)
class Noted:
    """A sentence for the job's event list (a resume, a skipped sample share, a warning)."""

    type: Literal["noted"] = "noted"
    level: Literal["info", "warning"]
    message: str


ProgressEvent = PhaseStarted | Advanced | PhaseFinished | StateSaved | Noted


class Progress(Protocol):
    """Receives events in order. Must not raise, and must return quickly."""

    def __call__(self, event: ProgressEvent, /) -> None: ...


Stop = Callable[[], bool]
"""True once whoever called the library wants it to end at the next step."""


def never() -> bool:
    """A `Stop` that does not."""
    return False


def ignore(event: ProgressEvent) -> None:
    """A `Progress` that drops everything."""
