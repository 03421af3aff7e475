"""How the library tells whoever called it where it stands. Free of torch and of jobs.

The library calls a `Progress`; the command line draws a bar from it, the child process of a worker
writes it as JSON lines, tests collect it in a list. The bounds are held where lines are read: a supervisor
believes a child no count below 0, no endless time, no NaN and no sentence but those that stand here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from annotated_types import Interval
from pydantic import AfterValidator, StringConstraints

from cleanclip.vocabulary.inspection_phrases import AS_UPLOADED
from cleanclip.vocabulary.phrases import Phrase, one_of

MAX_ETA_S = 1e12
"""Thirty thousand years: no job has so long, and every program can show it."""
Count = Annotated[int, Interval(ge=0, le=2**53)]
"""Up to the largest whole number that every reader of JSON understands."""
Rate = Annotated[float, Interval(ge=0, le=1e15)]
Seconds = Annotated[float, Interval(ge=0, le=MAX_ETA_S)]
Loss = Annotated[float, Interval(ge=-1e39, le=1e39)]
"""As far as float32 goes: a training that explodes says so, too."""
Unit = Literal["bytes", "images", "pairs", "passes", "samples", "steps"]

RESUMED = Phrase("Resumed from step {step:count} of {total:count}.")
OTHER_RUN = Phrase(
    "The state that was saved at step {step:count} belongs to another run (its recipe, data or number of "
    "processes differ): the training starts from the beginning."
)
SETTLED = Phrase(
    "What the tensors do not say was measured on {n:count} images: {num:count} combinations of settings, "
    "{images:count} passes of the images, {texts:count} of the texts."
)
AUDIT_REUSED = Phrase("The baseline audit of an earlier attempt is reused.")
RANKS = Phrase("{num:count} processes share the training.")
SAMPLES_REUSED = Phrase("{done:count} of {total:count} {name:word} samples of an earlier attempt are reused.")
Note = Annotated[
    str,
    AfterValidator(one_of(*(RESUMED, OTHER_RUN, SETTLED, AUDIT_REUSED, RANKS, SAMPLES_REUSED), *AS_UPLOADED)),
]

EMBEDDED = Phrase("embedded {num:count} class names")
FITTED = Phrase("fitted the linear probe for fold {fold:count}")
INVERTING = Phrase("Inverting patterns: step {done:count} of {total:count}.")
COLLAPSE = Phrase("collapse: {family:part}")
PARTS_OF_A_SCAN = (*map(Phrase, ("edits", "residual")), COLLAPSE)
STUDYING = Phrase("measuring what was found: {family:part}")
Doing = Annotated[str, AfterValidator(one_of(EMBEDDED, FITTED, INVERTING, STUDYING, *PARTS_OF_A_SCAN))]
"""What a phase is at."""

Phase = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
"""One of those that its kind of job has (`cleanclip.kinds`); a supervisor passes over others."""


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
    message: Doing | None = None
    loss: Loss | None = None


LEAST_RATE = 0.01


def rate_words(value: float, unit: str) -> str:
    """ "1,234 pairs/s", "12.3 pairs/s": three digits that mean something, and never an exponent."""
    if value < LEAST_RATE:
        return f"under {LEAST_RATE} {unit}/s"
    return f"{value:,.0f} {unit}/s" if value >= 100 else f"{value:.3g} {unit}/s"


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
    path: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,20}/step-\d{8,12}$")]
    step: Count
    is_good: bool = False


@dataclass(frozen=True, kw_only=True)
class Noted(_Event):
    """A sentence for the job's event list."""

    type: Literal["noted"] = "noted"
    level: Literal["info", "warning"]
    message: Note


@dataclass(frozen=True, kw_only=True)
class Announced:
    """Any sentence, for whoever runs the library. A child sends none: its supervisor says what follows from
    the order and the figures in its own words."""

    level: Literal["info", "warning"]
    message: str


SentEvent = PhaseStarted | Advanced | PhaseFinished | StateSaved | Noted
"""That a child writes to its supervisor."""
ProgressEvent = SentEvent | Announced


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
