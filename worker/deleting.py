"""Carrying out deletions: count what goes, take it away, erase its rows, and leave the receipt.

In this order, each step repeatable: killed anywhere, the next sweep goes on, and the figures, counted before
the first object went, stay right. No transaction is open while objects go.
"""

from __future__ import annotations

from app.db.models.deletion import Deletion
from app.db.session import Database
from app.domain.deletions import DeletionPlan
from app.logs import get_logger
from app.settings import RetentionSettings
from app.storage.errors import StorageError
from app.storage.port import ObjectStore

_BATCH = 100
_LOG = get_logger(__name__)


def carry_out_deletions(database: Database, store: ObjectStore, *, grace_s: float) -> int:
    """All that were asked for and can be done now; returns how many were finished.

    `grace_s`: how long after a job's end a worker that lost its lease may still write.
    """
    with database.unit_of_work() as unit:
        asked = unit.deletions.unfinished(_BATCH)
    num_finished = 0
    for deletion in asked:
        try:
            num_finished += _carry_out(database, store, deletion, grace_s)
        except StorageError as error:  # the next one may well lie where the store answers
            _LOG.warning("deletion_failed", deletion_id=deletion.id, reason=str(error)[:300])
    return num_finished


def _carry_out(database: Database, store: ObjectStore, deletion: Deletion, grace_s: float) -> bool:
    with database.unit_of_work() as unit:
        plan = unit.erasing.plan(deletion, grace_s=grace_s)
    if plan is None:
        return False
    if deletion.counted_at is None:
        _count(database, store, deletion, plan)
    for place in plan.places:
        store.purge(place)
    with database.unit_of_work() as unit:
        unit.erasing.erase(deletion)
        unit.deletions.finish(deletion.id)
    _LOG.info(
        "deleted", deletion_id=deletion.id, subject=deletion.subject.value, subject_id=deletion.subject_id
    )
    return True


def _count(database: Database, store: ObjectStore, deletion: Deletion, plan: DeletionPlan) -> None:
    num_objects = num_bytes = 0
    for place in plan.places:
        for stored in store.list_prefix(place):
            num_objects += 1
            num_bytes += stored.size_bytes
    with database.unit_of_work() as unit:
        unit.deletions.count(deletion.id, plan, num_objects=num_objects, num_bytes=num_bytes)


def end_what_was_kept_long_enough(
    database: Database,
    settings: RetentionSettings,
) -> int:
    """Ask for the deletions that the retention setting wants. Returns how many."""
    num_asked = 0
    with database.unit_of_work() as unit:
        if settings.outputs_days is not None:
            num_asked += unit.retention.end_outputs(settings.outputs_days, _BATCH)
        if settings.unused_days is not None:
            num_asked += unit.retention.end_unused(settings.unused_days, _BATCH)
        if settings.rejected_days is not None:
            num_asked += unit.retention.end_rejected(settings.rejected_days, _BATCH)
    return num_asked
