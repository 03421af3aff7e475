"""Where a job stands: phases only move forward, the fraction never falls, chatter is bounded."""

from __future__ import annotations

import pytest

from app.domain.states import JobKind, JobPhase, PhaseState
from sanitizer.progress import Advanced, Noted, PhaseFinished, PhaseStarted
from worker.tracker import MAX_NOTES, Tracker


def states(tracker: Tracker) -> list[str]:
    return [state.value for state in tracker.snapshot()[0].values()]


def test_a_phase_that_begins_ends_those_before_it() -> None:
    tracker = Tracker(JobKind.SANITIZE)
    tracker.begin(JobPhase.STAGE)
    tracker.apply(PhaseStarted(phase="finetune", total=10, unit="steps"))
    assert states(tracker) == ["succeeded", "succeeded", "running", "pending", "pending"]
    assert tracker.phase is JobPhase.FINETUNE


def test_phases_that_the_job_does_not_have_and_phases_that_are_over_change_nothing() -> None:
    tracker = Tracker(JobKind.AUDIT)
    tracker.apply(PhaseStarted(phase="finetune", total=1, unit="steps"))
    assert states(tracker) == ["pending", "pending", "pending"]
    tracker.begin(JobPhase.PUBLISH)
    tracker.apply(PhaseStarted(phase="baseline_audit", total=1, unit="images"))
    assert states(tracker) == ["succeeded", "succeeded", "running"]


def test_the_fraction_grows_to_one_and_never_falls() -> None:
    tracker = Tracker(JobKind.SANITIZE)
    seen = []
    for phase in ("baseline_audit", "finetune", "final_audit"):
        tracker.apply(PhaseStarted(phase=phase, total=4, unit="x"))
        for done in (1, 4, 2):
            tracker.apply(Advanced(phase=phase, done=done, total=4))
            seen.append(tracker.snapshot()[1]["fraction"])
        tracker.apply(PhaseFinished(phase=phase))
    tracker.begin(JobPhase.PUBLISH)
    tracker.advance(1.0)
    seen.append(tracker.snapshot()[1]["fraction"])
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)


def test_steps_rate_and_time_left_are_taken_over() -> None:
    tracker = Tracker(JobKind.SANITIZE)
    tracker.apply(PhaseStarted(phase="finetune", total=100, unit="steps"))
    event = Advanced(phase="finetune", done=25, total=100, rate=3.5, rate_unit="pairs", eta_s=9.0, loss=0.5)
    tracker.apply(event)
    progress = tracker.snapshot()[1]
    assert (progress["step"], progress["total_steps"], progress["eta_s"]) == (25, 100, 9.0)
    assert (progress["rate"], progress["rate_unit"], progress["loss"]) == (3.5, "pairs", 0.5)


def test_notes_are_taken_once_and_are_bounded() -> None:
    tracker = Tracker(JobKind.AUDIT)
    for number in range(MAX_NOTES + 50):
        tracker.apply(Noted(level="info", message=f"{number} " + "x" * 10_000))
    notes = tracker.take_notes()
    assert len(notes) == MAX_NOTES
    assert max(len(note["message"]) for note in notes) <= 500
    assert tracker.take_notes() == []


def test_an_unknown_total_is_no_division_by_zero() -> None:
    tracker = Tracker(JobKind.AUDIT)
    tracker.apply(PhaseStarted(phase="baseline_audit", total=None, unit="images"))
    tracker.apply(Advanced(phase="baseline_audit", done=5, total=None))
    tracker.apply(Advanced(phase="baseline_audit", done=5, total=0))
    assert tracker.snapshot()[0][JobPhase.BASELINE_AUDIT] is PhaseState.RUNNING
