"""Where a job stands: phases only move forward, the fraction never falls, chatter is bounded."""

import json
from itertools import pairwise

import pytest

from app.domain.states import JobKind, JobPhase, PhaseState
from cleanclip.vocabulary.progress import Advanced, Noted, PhaseFinished, PhaseStarted
from worker.tracker import MAX_NOTES, MAX_POINTS, LossCurve, Tracker


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


def test_a_cleaning_that_measures_its_rebound_has_a_phase_for_it() -> None:
    tracker = Tracker(JobKind.SANITIZE, spec={"audit": {"rebound": {}}})
    tracker.apply(PhaseStarted(phase="rebound", total=10, unit="images"))
    assert states(tracker) == ["succeeded"] * 4 + ["running", "pending"]
    without = Tracker(JobKind.SANITIZE, spec={"audit": {"rebound": None}})
    without.apply(PhaseStarted(phase="rebound", total=10, unit="images"))
    assert states(without) == ["pending"] * 5


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


def test_inputs_that_are_staged_again_after_a_scan_are_not_told_as_steps_of_it() -> None:
    tracker = Tracker(JobKind.SANITIZE, spec={"scan": {}})
    tracker.begin(JobPhase.STAGE)
    tracker.end(JobPhase.STAGE)
    tracker.apply(PhaseStarted(phase="scan", total=10, unit="passes"))
    tracker.apply(PhaseFinished(phase="scan"))
    before = tracker.snapshot()[1]
    tracker.begin(JobPhase.STAGE)
    tracker.advance(1.0, step=3_803_731, total_steps=3_803_731)
    assert tracker.snapshot()[1] == before
    assert before["step"] is None


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


def trained(tracker: Tracker, steps: range, total: int, loss: float = 2.0) -> list[list[float]]:
    tracker.begin(JobPhase.FINETUNE)
    for step in steps:
        tracker.apply(Advanced(phase="finetune", done=step, total=total, loss=loss))
    found: list[list[float]] = tracker.snapshot()[1].get("loss_curve", [])
    return found


def test_the_loss_is_kept_as_a_curve_of_few_points_that_ends_with_the_last_step() -> None:
    curve = trained(Tracker(JobKind.SANITIZE), range(1, 5001), 5000)
    assert curve[0] == [1, 2.0]
    assert curve[-1] == [5000, 2.0]
    assert 100 <= len(curve) <= 102
    assert all(one[0] < other[0] for one, other in pairwise(curve))


def test_a_later_attempt_goes_on_with_the_curve_from_the_step_that_was_saved() -> None:
    first = trained(Tracker(JobKind.SANITIZE), range(1, 61), 100)
    second = trained(Tracker(JobKind.SANITIZE, first), range(41, 101), 100, loss=1.0)
    assert second[:40] == first[:40]
    assert second[40:] == [[step, 1.0] for step in range(41, 101)]
    assert trained(Tracker(JobKind.SANITIZE, first), range(1, 2), 100, loss=3.0) == [[1, 3.0]], "begun again"


def test_the_curve_is_bounded_whatever_total_is_said() -> None:
    """With a total of one, each step is a point of its own; in a row that is written every second."""
    curve = trained(Tracker(JobKind.SANITIZE), range(1, 50_001), 1)
    assert len(curve) <= MAX_POINTS
    assert curve[-1][0] == 50_000
    assert len(json.dumps(curve)) < 5000
    assert len(LossCurve([[n, 1.0] for n in range(50_000)]).points) <= MAX_POINTS


def test_a_loss_that_is_no_number_is_not_kept_because_no_row_could_hold_it() -> None:
    assert trained(Tracker(JobKind.SANITIZE), range(1, 4), 10, loss=float("nan")) == []


def test_a_point_is_the_mean_of_what_was_heard_since_the_one_before() -> None:
    tracker = Tracker(JobKind.SANITIZE)
    tracker.begin(JobPhase.FINETUNE)
    for step, loss in ((100, 1.0), (120, 2.0), (199, 4.0), (200, 6.0)):
        tracker.apply(Advanced(phase="finetune", done=step, total=10_000, loss=loss))
    assert tracker.snapshot()[1]["loss_curve"] == [[100, 1.0], [200, 4.0]]
