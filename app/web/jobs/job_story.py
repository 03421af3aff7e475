"""What happened to a job, as sentences. An event that this version does not know is shown by its name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.db.models.job import Job, JobEvent
from app.schemas.jobs import PhaseOut
from app.web.kit.rendering import seconds_text
from cleanclip.kinds.catalogue import KINDS

Mood = Literal["", "warn", "bad", "good"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One event."""

    seq: int
    at: datetime
    text: str
    mood: Mood = ""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of the job; `took_s` is how long it took, or has taken so far."""

    title: str
    state: str
    started_at: datetime | None
    took_s: float | None


def phases_of(job: Job, now: datetime) -> list[Phase]:
    """In their order."""
    phases = [PhaseOut.model_validate(phase) for phase in job.phases]
    return [
        Phase(
            title=KINDS[job.kind].phase(phase.name).title,
            state=phase.state,
            started_at=phase.started_at,
            took_s=_took_s(phase, now),
        )
        for phase in phases
    ]


def _took_s(phase: PhaseOut, now: datetime) -> float | None:
    if phase.started_at is None:
        return None
    end = phase.finished_at or (now if phase.state == "running" else None)
    return None if end is None else max(0.0, (end - phase.started_at).total_seconds())


def lines_of(events: Sequence[JobEvent], kind: str) -> list[Line]:
    """The newest first."""
    return [
        Line(seq=event.seq, at=event.created_at, text=text, mood=mood)
        for event in reversed(events)
        for text, mood in [_sentence_of(event, kind)]
    ]


def _sentence_of(event: JobEvent, kind: str) -> tuple[str, Mood]:
    data = event.data
    if event.type in ("phase_started", "phase_finished"):
        title = KINDS[kind].phase(str(data.get("phase"))).title
        return (f"{title}: {'begun' if event.type == 'phase_started' else 'done'}.", "")
    if event.type == "noted":
        return str(data.get("message", "")), "warn" if data.get("level") == "warning" else ""
    own = _OF_KIND.get(str(data.get("of", kind)), {})
    tell = own.get(event.type) or _SENTENCES.get(event.type)
    return (event.type.replace("_", " ").capitalize() + ".", "") if tell is None else tell(data)


def _failed_attempt(data: Mapping[str, Any]) -> tuple[str, Mood]:
    wait_s = data.get("retry_in_s")
    again = f"retried in {seconds_text(wait_s)}" if wait_s else "retried at once"
    where = ", from what was saved" if data.get("resumes") else ""
    return f"Attempt {data.get('attempt')} failed and is {again}{where}: {_error(data)}", "warn"


def _error(data: Mapping[str, Any]) -> str:
    error = data.get("error") or {}
    return str(error.get("message") or error.get("code") or "no reason was given")


def _is(text: str, mood: Mood = "") -> Callable[[Mapping[str, Any]], tuple[str, Mood]]:
    return lambda data: (text, mood)


_Sentences = Mapping[str, Callable[[Mapping[str, Any]], tuple[str, Mood]]]
_OF_KIND: Mapping[str, _Sentences] = {
    "scan": {
        "state_saved": lambda data: (f"{data.get('step')} finished parts are saved.", ""),
        "state_dropped": _is("The saved parts cannot be used: the scan starts again.", "warn"),
        "pause_requested": _is("Pause requested; the worker saves the finished parts first."),
    }
}
"""Where a kind's state is not a training's."""
_SENTENCES: _Sentences = {
    "created": _is("Ordered; it waits for a worker."),
    "renamed": _is("Renamed."),
    "started": lambda data: (f"A worker started it (attempt {data.get('attempt')}).", ""),
    "state_saved": lambda data: (f"The training state after step {data.get('step')} is saved.", ""),
    "state_dropped": _is("The saved training state cannot be used: training starts again.", "warn"),
    "attempt_failed": _failed_attempt,
    "handed_back": _is("The worker was stopped and handed the job back; another worker continues it."),
    "lease_expired": _is("The worker was lost; another continues from the last saved state.", "warn"),
    "pause_requested": _is("Pause requested; the worker saves the training state first."),
    "pause_withdrawn": _is("The pause request was withdrawn."),
    "scanned": lambda data: (f"Scanned: {data.get('outcome')}. What was found is audited.", ""),
    "audited": lambda data: (f"Measured before cleaning; preliminary verdict: {data.get('outcome')}.", ""),
    "paused": _is("Paused.", "warn"),
    "resumed": _is("Resumed; it waits for a worker."),
    "cancel_requested": _is("Cancel requested; the worker stops."),
    "cancelled": _is("Cancelled.", "warn"),
    "retried": _is("Retried, with all its attempts; it waits for a worker."),
    "failed": lambda data: (f"Failed: {_error(data)}", "bad"),
    "succeeded": _is("Finished.", "good"),
}
