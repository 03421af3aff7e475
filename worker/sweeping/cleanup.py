"""Taking away what nobody needs from the object store: rejected and deleted checkpoints, abandoned uploads,
the outputs of attempts that did not win, training states of jobs that have ended.

Each step first reads what to take away, then deletes objects with no transaction open, then notes that it is
done: killed anywhere, the next sweep goes on. Deleting twice is harmless.
"""

import re

from app.db.models.job import Job
from app.db.session import Database
from app.domain.object_keys import checkpoint_prefix, outputs_prefix, states_prefix, upload_key
from app.domain.states import JobState
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS

_BATCH = 100
_ATTEMPT = re.compile(r"attempt-(\d+)/")


def delete_needless_checkpoints(database: Database, store: ObjectStore) -> int:
    """Uploaded bytes of rejected checkpoints, and all objects of deleted ones. Returns how many rows."""
    with database.unit_of_work() as unit:
        rows = unit.sweeping.needless_checkpoints(_BATCH)
    for row in rows:
        store.purge(upload_key(row.project_id, row.upload_id))
        store.delete_prefix(checkpoint_prefix(row.project_id, row.id))
        with database.unit_of_work() as unit:
            unit.sweeping.forget_checkpoint_objects(row.id)
    return len(rows)


def delete_abandoned_uploads(database: Database, store: ObjectStore) -> int:
    """All that lies at the key of an upload that expired or was cancelled: parts of every attempt to send it,
    also one that no row names because the API was killed in it, and the object put together of them."""
    with database.unit_of_work() as unit:
        unit.sweeping.expire_uploads(_BATCH)
    with database.unit_of_work() as unit:
        rows = unit.sweeping.abandoned_uploads(_BATCH)
    for row in rows:
        store.purge(upload_key(row.project_id, row.id))
        with database.unit_of_work() as unit:
            unit.sweeping.forget_store_upload(row.id)
    return len(rows)


def delete_job_leftovers(
    database: Database, store: ObjectStore, *, grace_s: float, failed_grace_s: float
) -> int:
    """Outputs of losing attempts and all training states of jobs that ended long enough ago."""
    with database.unit_of_work() as unit:
        jobs = unit.sweeping.unswept_jobs(grace_s=grace_s, failed_grace_s=failed_grace_s, limit=_BATCH)
    for job in jobs:
        with database.unit_of_work() as unit:
            if not unit.sweeping.forget_states(job.id, job.version):
                continue  # retried meanwhile
        store.delete_prefix(states_prefix(job.project_id, job.id))
        _delete_losers(store, job)
        with database.unit_of_work() as unit:
            unit.sweeping.mark_swept(job.id)
    return len(jobs)


def _delete_losers(store: ObjectStore, job: Job) -> None:
    if KINDS[job.kind].reads_upload and job.checkpoint_id:
        prefix = checkpoint_prefix(job.project_id, job.checkpoint_id)
    else:
        prefix = outputs_prefix(job.project_id, job.id)
    winner = job.attempt if job.state is JobState.SUCCEEDED else None
    for item in list(store.list_prefix(prefix)):
        match = _ATTEMPT.match(item.key.removeprefix(prefix))
        if match is None or int(match[1]) != winner:
            store.delete(item.key)
