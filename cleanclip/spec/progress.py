"""How the library tells whoever called it where it stands. Free of torch; knows no job, no queue.

The library calls a `Progress`; the command line draws a bar from it, the child process of a worker
writes it as JSON lines, tests collect it in a list. The bounds are held where lines are read: a supervisor
believes a child no count below 0, no endless time and no NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from annotated_types import Interval, MaxLen

MAX_ETA_S = 1e12
"""Thirty thousand years: no job has so long, and every program can show it."""
Count = Annotated[int, Interval(ge=0, le=2**53)]
"""Up to the largest whole number that every reader of JSON understands."""
Rate = Annotated[float, Interval(ge=0, le=1e15)]
Seconds = Annotated[float, Interval(ge=0, le=MAX_ETA_S)]
Loss = Annotated[float, Interval(ge=-1e39, le=1e39)]
"""As far as float32 goes: a training that explodes says so, too."""
Unit = Annotated[str, MaxLen(40)]
Sentence = Annotated[str, MaxLen(10_000)]

Phase = Literal["inspect", "validate", "baseline_audit", "finetune", "final_audit", "rebound", "scan", "vet"]


@dataclass(frozen=True, kw_only=True)
class _Event:
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }


@dataclass(frozen=True, kw_only=True)
class PhaseStarted(_Event):
    """A phase begins; `total` counts `unit`s ('images', 'steps', 'samples', 'bytes') or is unknown."""

    type: Literal["phase_started"] = "phase_started"
    phase: Phase
    total: Count | None
    unit: Unit


@dataclass(frozen=True, kw_only=True)
class Advanced(_Event):
    """`done` of the phase's `total` units are finished; `rate` is in `rate_unit` a second ('pairs')."""

    type: Literal["advanced"] = "advanced"
    phase: Phase
    done: Count
    total: Count | None
    rate: Rate | None = None
    rate_unit: Unit | None = None
    eta_s: Seconds | None = None
    message: Sentence | None = None
    loss: Loss | None = None


@dataclass(frozen=True, kw_only=True)
class PhaseFinished(_Event):
    type: Literal["phase_finished"] = "phase_finished"
    phase: Phase


@dataclass(frozen=True, kw_only=True)
class StateSaved(_Event):
    """A resumable training state is complete on disk: `path` is a folder relative to the job folder.

    `is_good`: it was saved while the loss was, and is kept until there is a later one of which that is true.
    """

    type: Literal["state_saved"] = "state_saved"
    path: Annotated[str, MaxLen(200)]
    step: Count
    is_good: bool = False


@dataclass(frozen=True, kw_only=True)
class Noted(_Event):
    """A sentence for the job's event list (a resume, a skipped sample share, a warning)."""

    type: Literal["noted"] = "noted"
    level: Literal["info", "warning"]
    message: Sentence


ProgressEvent = PhaseStarted | Advanced | PhaseFinished | StateSaved | Noted


class Progress(Protocol):
    """Receives events in order. Must not raise, and must return quickly."""

    def __call__(self, event: ProgressEvent, /) -> None: ...


Stop = Callable[[], bool]
"""True once whoever called the library wants it to end at the next step."""


def never_stop() -> bool:
    """A `Stop` that does not."""
    return False


def ignore(event: ProgressEvent) -> None:
    """A `Progress` that drops everything."""
