"""States: only the moves of the tables, phases in order, final states final."""

from itertools import pairwise

import pytest

from app.domain.errors import Conflict
from app.domain.states import (
    ACTIVE,
    CHECKPOINT_TRANSITIONS,
    DATASET_TRANSITIONS,
    JOB_TRANSITIONS,
    TERMINAL,
    UPLOAD_TRANSITIONS,
    CheckpointState,
    DatasetState,
    JobKind,
    JobPhase,
    JobState,
    UploadState,
    check_transition,
    may_become,
    phases_of,
)


def test_every_state_has_a_row_in_its_table() -> None:
    assert set(JOB_TRANSITIONS) == set(JobState)
    assert set(CHECKPOINT_TRANSITIONS) == set(CheckpointState)
    assert set(DATASET_TRANSITIONS) == set(DatasetState)
    assert set(UPLOAD_TRANSITIONS) == set(UploadState)


def test_succeeded_and_cancelled_are_final_and_failed_only_leads_back_to_the_queue() -> None:
    assert JOB_TRANSITIONS[JobState.SUCCEEDED] == frozenset()
    assert JOB_TRANSITIONS[JobState.CANCELLED] == frozenset()
    assert JOB_TRANSITIONS[JobState.FAILED] == {JobState.QUEUED}
    assert TERMINAL.isdisjoint(ACTIVE)


def test_once_a_cancel_was_asked_for_nothing_else_can_come_of_a_running_job() -> None:
    assert JOB_TRANSITIONS[JobState.CANCELLING] == {JobState.CANCELLED}


@pytest.mark.parametrize(
    ("path"),
    [
        [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED],
        [
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.QUEUED,
            JobState.RUNNING,
            JobState.FAILED,
            JobState.QUEUED,
        ],
        [JobState.RUNNING, JobState.PAUSED, JobState.QUEUED],
        [JobState.RUNNING, JobState.CANCELLING, JobState.CANCELLED],
    ],
)
def test_the_ways_a_job_may_go(path: list[JobState]) -> None:
    for current, new in pairwise(path):
        check_transition(current, new)


@pytest.mark.parametrize(
    ("current", "new", "code"),
    [
        (JobState.SUCCEEDED, JobState.QUEUED, "job_state_conflict"),
        (JobState.QUEUED, JobState.SUCCEEDED, "job_state_conflict"),
        (CheckpointState.REJECTED, CheckpointState.ACCEPTED, "checkpoint_state_conflict"),
        (CheckpointState.QUARANTINED, CheckpointState.ACCEPTED, "checkpoint_state_conflict"),
        (DatasetState.READY, DatasetState.REJECTED, "dataset_state_conflict"),
        (UploadState.COMPLETED, UploadState.OPEN, "upload_state_conflict"),
    ],
)
def test_other_moves_are_conflicts_that_say_what_is_possible(
    current: JobState, new: JobState, code: str
) -> None:
    assert not may_become(current, new)
    with pytest.raises(Conflict) as refused:
        check_transition(current, new)
    assert refused.value.code == code
    assert str(current) in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize("kind", list(JobKind))
def test_every_kind_begins_with_staging_and_ends_with_publishing(kind: JobKind) -> None:
    phases = phases_of(kind)
    assert phases[0] is JobPhase.STAGE
    assert phases[-1] is JobPhase.PUBLISH
    assert len(set(phases)) == len(phases)
