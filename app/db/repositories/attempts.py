"""Jobs, as a worker sees them: heartbeat, record, finish; every write is fenced by the attempt.

Each method takes the attempt that a claim (app.db.repositories.claims) returned, and does nothing at all
(returns None or False) once the job belongs to somebody else or to nobody: that is the fence. Only the
database's clock counts.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.job import Artifact, Job
from app.db.repositories.attempt_values import (
    CheckpointAccepted,
    DatasetReady,
    Heartbeat,
    NewArtifact,
    NewVerdict,
)
from app.db.repositories.claims import ClaimRepository
from app.db.repositories.job_changes import (
    announce,
    cancel,
    database_time,
    fail,
    give_back,
    lock_row,
    move,
    record,
    seconds,
    set_verdicts,
)
from app.db.repositories.webhook_rows import tell_of_checkpoint, tell_of_dataset
from app.domain.ids import new_id
from app.domain.states import LEASED, CheckpointState, DatasetState, JobKind, JobPhase, JobState, PhaseState


class AttemptRepository(ClaimRepository):
    def heartbeat(
        self,
        job_id: str,
        attempt: int,
        *,
        lease_s: float,
        progress: dict[str, Any] | None = None,
        phases: Mapping[JobPhase, PhaseState] | None = None,
    ) -> Heartbeat | None:
        """Extend the lease, carry progress out and requests in. None: fenced off; stop and write nothing.

        Phases that changed are stamped with the database's clock and become events.
        """
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return None
        job.lease_expires_at = func.clock_timestamp() + seconds(lease_s)
        if progress is not None and progress != job.progress:
            job.progress = progress
            job.version += 1
        self._session.flush()
        if phases is not None:
            self._stamp_phases(job, phases)
        return Heartbeat(
            cancel_requested=job.cancel_requested_at is not None,
            pause_requested=job.pause_requested_at is not None,
        )

    def peek(self, job_id: str, attempt: int) -> Heartbeat | None:
        """What is asked of the job, without a write. None: fenced off."""
        query = select(
            Job.cancel_requested_at.is_not(None).label("cancel"),
            Job.pause_requested_at.is_not(None).label("pause"),
        ).where(Job.id == job_id, Job.attempt == attempt, Job.state.in_(LEASED))
        row = self._session.execute(query).one_or_none()
        return None if row is None else Heartbeat(cancel_requested=row.cancel, pause_requested=row.pause)

    def time(self) -> str:
        """Now, as RFC 3339 in UTC."""
        return database_time(self._session)

    def record_event(self, job_id: str, attempt: int, event: str, data: dict[str, Any]) -> bool:
        """Append an event. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        record(self._session, job, event, data)
        return True

    def record_upload(self, job_id: str, attempt: int, sha256: str) -> bool:
        """The digest of the bytes that an inspection reads, whatever becomes of it. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        lock_row(self._session, Checkpoint, str(job.checkpoint_id)).sha256 = sha256
        return True

    def record_source(
        self, job_id: str, attempt: int, source: dict[str, Any], *, filename: str, size_bytes: int | None
    ) -> bool:
        """What the source of an inspection's checkpoint was found to be; `size_bytes` and its "sha256" once
        its bytes are in the store. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        row = lock_row(self._session, Checkpoint, str(job.checkpoint_id))
        upload = lock_row(self._session, Upload, row.upload_id)
        row.source, row.filename, upload.filename = source, filename, filename
        if size_bytes is not None:
            row.size_bytes = upload.size_bytes = size_bytes
            upload.declared_sha256 = upload.declared_sha256 or source["sha256"]
        return True

    def record_state(self, job_id: str, attempt: int, resume_state: dict[str, Any] | None) -> bool:
        """Name the newest durable training state, or None to begin again. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        event, data = "state_dropped", {}
        if resume_state is not None:
            event, data = "state_saved", {"step": resume_state["step"]}
        if job.spec.get("recipe") and job.spec.get("scan") and not job.spec.get("scanned"):
            data |= {"of": JobKind.SCAN.value}  # with which it begins
        record(self._session, job, event, data, resume_state=resume_state)
        return True

    def record_scanned(self, job_id: str, attempt: int, spec: dict[str, Any], outcome: str) -> bool:
        """The order of a cleaning that scanned first, with what the scan found; its parts are not needed any
        more. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        record(self._session, job, "scanned", {"outcome": outcome}, spec=spec, resume_state=None)
        return True

    def record_first_audit(
        self, job_id: str, attempt: int, result: dict[str, Any], verdict: NewVerdict
    ) -> bool:
        """What the audit before cleaning found out, while the job goes on: in its result, and as a verdict on
        the weights that came in. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        if job.result != result:  # of an attempt before, which this one goes on from
            set_verdicts(self._session, job, [verdict])
            record(self._session, job, "audited", {"outcome": verdict.outcome.value}, result=result)
        return True

    def finish_succeeded(
        self,
        job_id: str,
        attempt: int,
        *,
        result: dict[str, Any],
        artifacts: Sequence[NewArtifact] = (),
        effect: CheckpointAccepted | DatasetReady | None = None,
        verdicts: Sequence[NewVerdict] = (),
    ) -> JobState | None:
        """Publish artifact rows, the result, its verdicts, and what it means for the checkpoint or dataset.

        Returns SUCCEEDED; CANCELLED where a cancel came first (nothing is published); None when fenced off.
        """
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return None
        if job.state is JobState.CANCELLING:
            cancel(self._session, job)
            return job.state
        whose = {"project_id": job.project_id, "job_id": job.id, "attempt": attempt}
        rows = [Artifact(id=new_id("art"), **whose, **asdict(new)) for new in artifacts]
        self._session.add_all(rows)
        set_verdicts(self._session, job, verdicts)
        if isinstance(effect, CheckpointAccepted):
            self._accept_checkpoint(job, effect)
        elif isinstance(effect, DatasetReady):
            self._make_ready(job, effect)
        self._stamp_phases(job, {JobPhase(phase["name"]): PhaseState.SUCCEEDED for phase in job.phases})
        move(
            self._session,
            job,
            JobState.SUCCEEDED,
            "succeeded",
            phase=JobPhase(job.phases[-1]["name"]) if job.phases else job.phase,
            result=result | {"artifact_ids": [row.id for row in rows]},
            progress=job.progress | {"fraction": 1.0, "eta_s": 0.0},
        )
        return job.state

    def finish_failed(
        self,
        job_id: str,
        attempt: int,
        *,
        error: dict[str, Any],
        retry_in_s: float | None = None,
        counts: bool = True,
        forgets_result: bool = False,
        scanners: Sequence[Mapping[str, Any]] = (),
    ) -> JobState | None:
        """End the attempt. With `retry_in_s`, and attempts left: queued again; otherwise failed.

        An attempt that does not count is given back (`give_back`): it ended by a fault of the operator's.

        What its first audit found out stays, unless `forgets_result`: then nothing of it is believed. A
        checkpoint that is rejected keeps what `scanners` say of it.
        Returns the state reached (CANCELLED where a cancel came first); None when fenced off.
        """
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return None
        if forgets_result:
            job.result = None
            set_verdicts(self._session, job, [])
        if job.state is JobState.CANCELLING:
            cancel(self._session, job)
        elif not counts:
            data = {"attempt": attempt, "error": error}
            give_back(self._session, job, "attempt_failed", error, wait_s=retry_in_s or 0.0, data=data)
        elif retry_in_s is None or job.attempts_used >= job.max_attempts:
            fail(self._session, job, error, scanners)
        else:
            wait = func.clock_timestamp() + seconds(retry_in_s) if retry_in_s > 0 else None
            data = {"attempt": attempt, "error": error, "retry_in_s": retry_in_s}
            move(self._session, job, JobState.QUEUED, "attempt_failed", data, not_before=wait)
            announce(self._session, job)
        return job.state

    def finish_cancelled(self, job_id: str, attempt: int) -> bool:
        """End as cancelled. False: fenced off."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return False
        cancel(self._session, job)
        return True

    def finish_paused(self, job_id: str, attempt: int) -> JobState | None:
        """Let go of the job as paused, the attempt not counted; queued again if the pause was withdrawn."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return None
        if job.state is JobState.CANCELLING:
            cancel(self._session, job)
        elif job.pause_requested_at is None:
            return self.hand_back(job_id, attempt)
        else:
            used = job.attempts_used - 1
            move(self._session, job, JobState.PAUSED, "paused", attempts_used=used)
        return job.state

    def hand_back(self, job_id: str, attempt: int) -> JobState | None:
        """Let go of the job as queued, without counting the attempt (the worker is told to leave)."""
        job = self._mine(job_id, attempt, LEASED)
        if job is None:
            return None
        if job.state is JobState.CANCELLING:
            cancel(self._session, job)
        else:
            used = job.attempts_used - 1
            move(self._session, job, JobState.QUEUED, "handed_back", {"attempt": attempt}, attempts_used=used)
            announce(self._session, job)
        return job.state

    def _mine(self, job_id: str, attempt: int, states: Collection[JobState]) -> Job | None:
        query = (
            select(Job)
            .where(Job.id == job_id, Job.attempt == attempt, Job.state.in_(states))
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        return self._session.scalars(query).one_or_none()

    def _stamp_phases(self, job: Job, wanted: Mapping[JobPhase, PhaseState]) -> None:
        states = {str(phase["name"]): phase["state"] for phase in job.phases}
        changed = [name for name, state in states.items() if wanted.get(JobPhase(name), state) != state]
        if not changed:
            return
        now = database_time(self._session)
        for name, state in _moves(changed, states, wanted):
            phases = [_stamped(phase, state, now) if phase["name"] == name else phase for phase in job.phases]
            event = "phase_started" if state is PhaseState.RUNNING else "phase_finished"
            values: dict[str, Any] = {"phases": phases}
            if state is PhaseState.RUNNING:
                values["phase"] = JobPhase(name)
            record(self._session, job, event, {"phase": name}, **values)

    def _accept_checkpoint(self, job: Job, effect: CheckpointAccepted) -> None:
        checkpoint = lock_row(self._session, Checkpoint, str(job.checkpoint_id))
        checkpoint.state = CheckpointState.ACCEPTED
        for name, value in asdict(effect).items():
            setattr(checkpoint, name, value)
        self._session.flush()
        tell_of_checkpoint(self._session, checkpoint)

    def _make_ready(self, job: Job, effect: DatasetReady) -> None:
        dataset = lock_row(self._session, Dataset, str(job.dataset_id))
        dataset.state = DatasetState.READY
        dataset.files = effect.files
        dataset.summary = effect.summary
        self._session.flush()
        tell_of_dataset(self._session, dataset)


def _moves(
    changed: Sequence[str], states: Mapping[str, str], wanted: Mapping[JobPhase, PhaseState]
) -> Iterator[tuple[str, PhaseState]]:
    """Each phase that changed with its new state; one that began and ended between two beats did both."""
    for name in changed:
        state = wanted[JobPhase(name)]
        if state is PhaseState.SUCCEEDED and states[name] == PhaseState.PENDING.value:
            yield name, PhaseState.RUNNING
        yield name, state


def _stamped(phase: dict[str, Any], state: PhaseState, now: str) -> dict[str, Any]:
    finished_at = now if state is PhaseState.SUCCEEDED else None
    return phase | {
        "state": state.value,
        "started_at": phase["started_at"] or now,
        "finished_at": finished_at,
    }
