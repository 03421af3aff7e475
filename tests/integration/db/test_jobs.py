"""Jobs as requests see them: enqueue, ask, page; and what no request may do."""

from typing import Any

import pytest

from app.db.models.job import Job
from app.db.models.project import Project
from app.db.session import Database, build_engine
from app.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from app.domain.ids import new_id
from app.domain.object_keys import state_prefix
from app.domain.states import JobKind, JobState


def enqueue(database: Database, project_id: str, kind: JobKind = JobKind.AUDIT, **values: Any) -> Job:
    with database.unit_of_work() as unit:
        return unit.jobs.enqueue(
            Job(id=new_id("job"), project_id=project_id, kind=kind, spec={}, job_metadata={}, **values)
        )


def test_job_event_and_outbox_row_come_in_one_transaction_or_not_at_all(
    database: Database, project_id: str
) -> None:
    lost = Job(id=new_id("job"), project_id=project_id, kind=JobKind.AUDIT, spec={}, job_metadata={})

    def enqueue_and_break() -> None:
        with database.unit_of_work() as unit:
            unit.jobs.enqueue(lost)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        enqueue_and_break()
    kept = enqueue(database, project_id)
    with database.unit_of_work() as unit:
        with pytest.raises(NotFound):
            unit.jobs.get(project_id, lost.id)
        reported = [
            message.payload for message in unit.outbox.pending(1000) if message.project_id == project_id
        ]
        events, _ = unit.events.page(project_id, kept.id, None, 10)
    assert reported == [{"job_id": kept.id, "kind": "audit"}]
    assert [(event.seq, event.type) for event in events] == [(1, "created")]
    assert (kept.version, kept.event_seq, kept.max_attempts) == (1, 1, 3)


def test_a_job_of_another_project_is_not_found(database: Database, project_id: str) -> None:
    job = enqueue(database, project_id)
    with database.unit_of_work() as unit:
        other = unit.projects.add(Project(id=new_id("prj"), name=new_id("prj")))
        for ask in (unit.jobs.get, unit.jobs.request_cancel, unit.jobs.request_pause, unit.jobs.retry):
            with pytest.raises(NotFound) as refused:
                ask(other.id, job.id)
            assert refused.value.code == "job_not_found"
        assert unit.events.page(other.id, job.id, None, 10) == ([], False)


def test_pages_are_newest_first_and_meet_without_overlap(database: Database, project_id: str) -> None:
    ids = [enqueue(database, project_id).id for _ in range(5)]
    enqueue(database, project_id, JobKind.INSPECT)
    with database.unit_of_work() as unit:
        first, has_more = unit.jobs.page(project_id, None, 3)
        assert has_more
        second, has_more = unit.jobs.page(project_id, [*first][-1], 3)
    assert not has_more
    assert [*first, *second] == ids[::-1], "and the service's own jobs are not shown"


def test_a_page_can_be_narrowed_to_a_state(database: Database, project_id: str) -> None:
    job, _ = enqueue(database, project_id), enqueue(database, project_id)
    with database.unit_of_work() as unit:
        unit.jobs.request_cancel(project_id, job.id)
        cancelled, _ = unit.jobs.page(project_id, None, 10, state=JobState.CANCELLED)
    assert [*cancelled] == [job.id]


def test_cancelling_twice_changes_nothing_the_second_time(database: Database, project_id: str) -> None:
    job = enqueue(database, project_id)
    versions = []
    for _ in range(2):
        with database.unit_of_work() as unit:
            row = unit.jobs.request_cancel(project_id, job.id)
            versions.append((row.state, row.version, row.event_seq))
    assert versions == [(JobState.CANCELLED, 2, 2)] * 2


def test_a_finished_job_cannot_be_cancelled_paused_or_resumed(database: Database, project_id: str) -> None:
    job = enqueue(database, project_id)
    with database.unit_of_work() as unit:
        unit.attempts.claim(job.id, owner="w", lease_s=60)
        unit.attempts.finish_succeeded(job.id, 1, result={})
    for name in ("request_cancel", "request_pause", "resume", "retry"):
        with database.unit_of_work() as unit, pytest.raises(Conflict) as refused:
            getattr(unit.jobs, name)(project_id, job.id)
        assert refused.value.code == "job_state_conflict"


ORDERED = {"audit": {"target": None}, "scan": {}, "scan_section": None, "scanned": None}
SCANNED = {"audit": {"target": "x"}, "scan": {}, "scan_section": {}, "scanned": {"audit": {"target": None}}}


@pytest.mark.parametrize(
    ("code", "goes_on"),
    [
        *((code, True) for code in ("worker_lost", "store_unavailable", "database_unavailable")),
        *((code, False) for code in ("outputs_rejected", "figures_not_confirmed", "child_nonsense")),
        *((code, False) for code in ("child_flood", "child_crashed", "child_killed", "outputs_unusable")),
        *((code, False) for code in ("disk_full", "worker_out_of_memory", "wall_time_exceeded")),
        ("loss_not_finite", False),
        ("a_code_of_the_next_release", False),
    ],
)
def test_a_failed_job_is_retried_with_all_its_attempts_and_its_state_only_after_an_end_from_outside(
    database: Database, project_id: str, code: str, goes_on: bool
) -> None:
    job = enqueue(database, project_id, JobKind.SANITIZE, max_attempts=1)
    with database.unit_of_work() as unit:
        unit.attempts.claim(job.id, owner="w", lease_s=60)
        unit.attempts.record_scanned(job.id, 1, SCANNED, "suspicious")
        prefix = state_prefix(project_id, job.id, 1, 5)
        unit.attempts.record_state(job.id, 1, {"step": 5, "prefix": prefix, "files": []})
        unit.attempts.heartbeat(job.id, 1, lease_s=60, progress={"loss_curve": [[5, 0.25]]})
        unit.attempts.finish_failed(job.id, 1, error={"code": code, "message": "m", "remedy": "r"})
    with database.unit_of_work() as unit:
        row = unit.jobs.retry(project_id, job.id)
        assert (row.state, row.attempts_used, row.error, row.finished_at) == (JobState.QUEUED, 0, None, None)
        claimed = unit.attempts.claim(job.id, owner="w", lease_s=60)
    assert claimed is not None
    assert claimed.attempt == 2, "the fencing token never goes back"
    assert (claimed.resume_state is not None, claimed.spec == SCANNED) == (goes_on, goes_on)
    assert claimed.loss_curve == ([[5, 0.25]] if goes_on else ())
    assert goes_on or claimed.spec == ORDERED
    with database.unit_of_work() as unit:
        events, _ = unit.events.page(project_id, job.id, None, 20)
    assert [one.data["resumes"] for one in events if one.type == "failed"] == [goes_on]


def test_events_are_numbered_without_a_gap_when_many_write_at_once(
    database: Database, project_id: str
) -> None:
    import threading

    job = enqueue(database, project_id)
    with database.unit_of_work() as unit:
        unit.attempts.claim(job.id, owner="w", lease_s=60)

    def write() -> None:
        for _ in range(10):
            with database.unit_of_work() as unit:
                assert unit.attempts.record_event(job.id, 1, "noted", {})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.unit_of_work() as unit:
        events, _ = unit.events.page(project_id, job.id, None, 100)
    assert [event.seq for event in events] == list(range(1, 43))


def test_an_idempotency_key_gives_one_answer_and_refuses_another_body(
    database: Database, project_id: str
) -> None:
    same = {"project_id": project_id, "key": "k", "method": "POST", "path": "/v1/jobs", "ttl_s": 60.0}
    with database.unit_of_work() as unit:
        row = unit.idempotency.begin(request_sha256="a", **same)
        assert row.state.value == "in_flight"
        unit.idempotency.finish(row, status=202, body={"id": "job_1"})
    with database.unit_of_work() as unit:
        again = unit.idempotency.begin(request_sha256="a", **same)
        assert (again.state.value, again.response_status, again.response_body) == (
            "done",
            202,
            {"id": "job_1"},
        )
        with pytest.raises(InvalidInput):
            unit.idempotency.begin(request_sha256="b", **same)


def test_an_idempotency_key_in_flight_is_a_conflict_at_once(database: Database, project_id: str) -> None:
    same = {"project_id": project_id, "key": "k", "method": "POST", "path": "/", "request_sha256": "a"}
    with database.unit_of_work() as first:
        first.idempotency.begin(ttl_s=60, **same)
        with database.unit_of_work() as second, pytest.raises(Conflict):
            second.idempotency.begin(ttl_s=60, **same)


def test_a_database_that_does_not_answer_is_unavailable_not_a_traceback() -> None:
    database = Database(build_engine("postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(Unavailable), database.unit_of_work() as unit:
        unit.projects.all()
    with pytest.raises(Unavailable):
        database.ping()


def test_what_jsonb_cannot_hold_is_replaced_and_never_stops_a_row(
    database: Database, project_id: str
) -> None:
    job = enqueue(database, project_id)
    hostile = {"name": "a\0b\ud800c", "loss": float("nan"), "deep": [{"k\0": float("inf")}], "fine": "ü\n1"}
    with database.unit_of_work() as unit:
        unit.attempts.claim(job.id, owner="w", lease_s=60)
        assert unit.attempts.record_event(job.id, 1, "noted", hostile)
    with database.unit_of_work() as unit:
        events, _ = unit.events.page(project_id, job.id, 2, 10)
    assert events[0].data == {
        "name": "a\ufffdb\ufffdc",
        "loss": None,
        "deep": [{"k\ufffd": None}],
        "fine": "ü\n1",
    }
