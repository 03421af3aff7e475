"""Carrying out deletions: count what goes, take it away, erase its rows, and leave the receipt.

In this order, each step repeatable: killed anywhere, the next sweep goes on, and the figures, counted before
the first object went, stay right. No transaction is open while objects go.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from app.db.models.assets import Deletion
from app.db.session import Database
from app.domain.deletions import DeletionPlan
from app.logs import get_logger
from app.settings import RetentionSettings
from app.storage.errors import ObjectNotFound, StorageError, UploadNotFound
from app.storage.port import ObjectStore, Part

_BATCH = 100
OBJECTS_AT_ONCE = 1000
LOOK_AGAIN_AFTER_S = 15.0
"""A deletion that must wait, or whose objects the store does not let go, is looked at again after that."""
_LOG = get_logger(__name__)


class _State(Enum):
    FINISHED = auto()
    BEGUN = auto()
    WAITS = auto()


def carry_out_deletions(
    database: Database, store: ObjectStore, *, grace_s: float, for_s: float = 10.0
) -> int:
    """What was asked for and can be done now, for about `for_s`; returns how many were finished.

    `grace_s`: how long after the loss of its lease a worker may still write. What is not done in time comes
    after the others in the next sweep.
    """
    until_s = time.monotonic() + for_s

    def is_over() -> bool:
        return time.monotonic() > until_s

    with database.unit_of_work() as unit:
        asked = unit.deletions.due(_BATCH)
    num_finished = 0
    for deletion in asked:
        try:
            state = _carry_out(database, store, deletion, grace_s, is_over)
        except StorageError as error:  # the next one may well lie where the store answers
            state = _State.WAITS
            _LOG.warning("deletion_failed", deletion_id=deletion.id, reason=str(error)[:300])
        if state is _State.FINISHED:
            num_finished += 1
        else:
            wait_s = min(grace_s, LOOK_AGAIN_AFTER_S) if state is _State.WAITS else 0.0
            with database.unit_of_work() as unit:
                unit.deletions.postpone(deletion.id, wait_s)
        if is_over():
            break
    return num_finished


def _carry_out(
    database: Database, store: ObjectStore, deletion: Deletion, grace_s: float, is_over: Callable[[], bool]
) -> _State:
    with database.unit_of_work() as unit:
        plan = unit.erasing.plan(deletion, grace_s=grace_s)
    if plan is None:
        return _State.WAITS
    if deletion.counted_at is None:
        _count(database, store, deletion, plan)
    for place in plan.places:
        while not store.purge(place, max_objects=OBJECTS_AT_ONCE):
            if is_over():
                return _State.BEGUN
    with database.unit_of_work() as unit:
        unit.erasing.erase(deletion)
        unit.deletions.finish(deletion.id)
    _LOG.info(
        "deleted", deletion_id=deletion.id, subject=deletion.subject.value, subject_id=deletion.subject_id
    )
    return _State.FINISHED


def _count(database: Database, store: ObjectStore, deletion: Deletion, plan: DeletionPlan) -> None:
    num_objects = num_bytes = 0
    for place in plan.places:
        for stored in store.list_prefix(place):
            num_objects += 1
            num_bytes += stored.size_bytes
        parts = _parts(store, place)
        num_objects += len(parts)
        num_bytes += sum(part.size_bytes for part in parts)
    with database.unit_of_work() as unit:
        unit.deletions.count(deletion.id, plan, num_objects=num_objects, num_bytes=num_bytes)


def _parts(store: ObjectStore, place: str) -> list[Part]:
    """What lies there of uploads that nobody completed."""
    found: list[Part] = []
    for key, upload_id in store.list_unfinished(place):
        with suppress(UploadNotFound, ObjectNotFound):  # aborted meanwhile
            found.extend(store.list_parts(key, upload_id))
    return found


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
