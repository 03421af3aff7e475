"""Where drills take place: an embedded stack, one project with a checkpoint and data, orders, and what became
of them. Rows that a client's upload would make are made by hand; everything else goes the service's own way.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.job import Job, JobEvent
from app.db.models.project import Project
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id
from app.domain.object_keys import upload_key
from app.domain.states import TERMINAL, DatasetKind, JobKind, JobState, UploadPurpose, UploadState
from app.ledger import check as ledger
from app.local.stack import Stack
from app.queue.publisher import BrokerPublisher
from app.services import jobs as job_service
from app.services.api_keys import Caller
from app.services.orders import Order
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.vocabulary.recipe import AuditOptions, parse, parse_recipe
from lab.drills import subject
from lab.drills.processes import output_of
from worker.sweeper import SweepOptions, sweep_once

DATA_BUCKET = "customer-data"
LEASE_S, HEARTBEAT_S, SAVE_EVERY_S = 3.0, 0.5, 0.15
AT_ONCE = SweepOptions(leftovers_after_s=0.0, failed_leftovers_after_s=0.0)


class Scene:
    """`variables` point every process at the same database, broker and bucket."""

    def __init__(
        self, settings: Settings, variables: Mapping[str, str], folder: Path, data_bucket: str
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.hands = Database(build_engine(settings.database.url, role=Role.OPERATOR))
        self.worker_database = Database(build_engine(settings.database.url, role=Role.WORKER))
        self.store = S3Store(settings.storage)
        self.data_store = S3Store(settings.storage, bucket=data_bucket)
        self.publisher = BrokerPublisher(settings.broker.url, key_prefix=settings.broker.key_prefix)
        self.variables = {
            **variables,
            "OMP_NUM_THREADS": "1",
            "CLEANCLIP_JOBS__LEASE_S": str(LEASE_S),
            "CLEANCLIP_JOBS__HEARTBEAT_S": str(HEARTBEAT_S),
            "CLEANCLIP_JOBS__SWEEP_EVERY_S": "1",
            "CLEANCLIP_JOBS__SAVE_EVERY_S": str(SAVE_EVERY_S),
            "CLEANCLIP_WORKER__DEVICE": "cpu",
            "CLEANCLIP_WORKER__NUM_THREADS": "1",
            "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps([f"s3://{data_bucket}/"]),
        }
        self.project_id = new_id("prj")
        self.caller = Caller(
            project_id=self.project_id,
            key_id="drill",
            scopes=frozenset({"admin"}),
            request_id="drill",
            remote_addr=None,
        )
        self.checkpoint_id = self.pairs_id = self.labelled_id = ""

    # -- what a customer has

    def prepare(self, run: Callable[[str], object], files: Path) -> None:
        """Upload and register everything; `run` brings each of the service's own jobs to its end."""
        subject.make(files)
        with self.hands.unit_of_work() as unit:
            unit.projects.add(Project(id=self.project_id, name=self.project_id))
        self.checkpoint_id, inspect = self.upload_checkpoint((files / "clip.pt").read_bytes())
        self.pairs_id, pairs = self.register(DatasetKind.PAIRS, files / "pairs")
        self.labelled_id, labelled = self.register(DatasetKind.LABELLED, files / "labelled")
        for job_id in (inspect, pairs, labelled):
            run(job_id)
            if self.job(job_id).state is not JobState.SUCCEEDED:
                raise RuntimeError(f"the drill's own files were refused: {self.job(job_id).error}")

    def upload_checkpoint(self, body: bytes) -> tuple[str, str]:
        """Ids of a quarantined checkpoint and of its inspect job, queued."""
        upload_id, checkpoint_id = new_id("upl"), new_id("ckpt")
        key = upload_key(self.project_id, upload_id)
        self.store.put_bytes(key, body)
        of_both: dict[str, Any] = {
            "project_id": self.project_id,
            "filename": "clip.pt",
            "size_bytes": len(body),
            "declared": dict(subject.DECLARED),
        }
        upload = Upload(
            id=upload_id,
            **of_both,
            purpose=UploadPurpose.CHECKPOINT,
            part_size_bytes=len(body),
            num_parts=1,
            object_key=key,
            state=UploadState.COMPLETED,
            checkpoint_id=checkpoint_id,
            expires_at=func.now() + func.make_interval(1),
        )
        checkpoint = Checkpoint(
            id=checkpoint_id,
            **of_both,
            upload_id=upload_id,
            upload_object_key=key,
        )
        with self.hands.unit_of_work() as unit:
            unit.uploads.add(upload)
            unit.checkpoints.add(checkpoint)
            job = unit.jobs.enqueue(self._job(JobKind.INSPECT, checkpoint_id=checkpoint_id))
            checkpoint.inspect_job_id = job.id
        return checkpoint_id, job.id

    def register(self, kind: DatasetKind, folder: Path) -> tuple[str, str]:
        """Ids of a dataset in the customer's bucket and of its validate job, queued."""
        dataset_id = new_id("ds")
        for path in sorted(folder.iterdir()):
            self.data_store.put_bytes(f"{dataset_id}/{path.name}", path.read_bytes())
        uri = f"s3://{self.data_store.bucket}/{dataset_id}/"
        row = Dataset(id=dataset_id, project_id=self.project_id, kind=kind, uri=uri, max_skipped_share=0.01)
        with self.hands.unit_of_work() as unit:
            unit.datasets.add(row)
            job = unit.jobs.enqueue(self._job(JobKind.VALIDATE, dataset_id=dataset_id))
            row.validate_job_id = job.id
        return dataset_id, job.id

    def order(
        self,
        kind: JobKind = JobKind.SANITIZE,
        *,
        seed: int = 7,
        max_attempts: int = 10,
        recipe: Mapping[str, Any] | None = None,
        checkpoint_id: str = "",
    ) -> str:
        """A customer's job, queued; its id."""
        is_sanitize = kind is JobKind.SANITIZE
        asked = subject.RECIPE | dict(recipe or {})
        order = Order(
            kind=kind,
            ids={
                "checkpoint_id": checkpoint_id or self.checkpoint_id,
                "labelled_dataset_id": self.labelled_id,
            }
            | ({"dataset_id": self.pairs_id} if is_sanitize else {}),
            parts={"audit": parse(AuditOptions, subject.AUDIT)}
            | ({"recipe": parse_recipe(asked)} if is_sanitize else {}),
            recipe_given=tuple(sorted(asked.keys() - {"method"})) if is_sanitize else None,
            policy=None,
            seed=seed,
            output_layout=None,
            max_attempts=max_attempts,
            metadata={},
        )
        with self.hands.unit_of_work() as unit:
            return job_service.create(unit, self.caller, order, Settings().worker).id

    def _job(self, kind: JobKind, **values: Any) -> Job:
        return Job(
            id=new_id("job"),
            project_id=self.project_id,
            kind=kind,
            spec={},
            seed=0,
            max_attempts=10,
            **values,
        )

    # -- what became of it

    def job(self, job_id: str) -> Job:
        with self.hands.unit_of_work() as unit:
            return unit.jobs.get(self.project_id, job_id)

    def events(self, job_id: str) -> Sequence[JobEvent]:
        """All of them, oldest first."""
        with self.hands.unit_of_work() as unit:
            rows, has_more = unit.events.page(self.project_id, job_id, None, 100_000)
        assert not has_more
        return rows

    def digests(self, job_id: str) -> dict[str, str]:
        """Name → SHA-256 of what the job published."""
        with self.hands.unit_of_work() as unit:
            return {row.name: row.sha256 for row in unit.artifacts.of_job(self.project_id, job_id)}

    def num_unfinished(self) -> int:
        with self.hands.unit_of_work() as unit:
            counts = unit.jobs.num_by_state()
        ended = {state.value for state in TERMINAL}
        return sum(number for (_, state), number in counts.items() if state not in ended)

    def sweep(self, options: SweepOptions | None = None) -> None:
        """One sweep, as the sweeper does it."""
        sweep_once(self.worker_database, self.store, self.publisher, options)

    def check_ledger(self) -> ledger.Ledger:
        """Sweep with no grace at all, then look: nothing may be left that no row knows."""
        self.sweep(AT_ONCE)
        self.sweep(AT_ONCE)
        return ledger.check(self.settings, grace_s=0.0, failed_grace_s=0.0)

    def close(self) -> None:
        self.publisher.close()
        self.hands.dispose()
        self.worker_database.dispose()


@contextmanager
def embedded(folder: Path, *, is_migrated: bool = True) -> Iterator[tuple[Scene, Stack]]:
    """A scene on a stack of its own in `folder`, migrated and empty: what an earlier run left goes first.

    Not `is_migrated`: there is not even a schema.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with Stack(folder / "stack", fsync=False, more_buckets=(DATA_BUCKET,), environ={}) as stack:
        if is_migrated:
            environment = {**os.environ, **stack.environment}
            output_of(sys.executable, "-m", "app.cli", "migrate", environment=environment)
        scene = Scene(stack.settings(), stack.environment, folder, DATA_BUCKET)
        try:
            yield scene, stack
        finally:
            scene.close()


def wait_for(is_true: Callable[[], object], timeout_s: float, what: str) -> None:
    """Return once it is true. Raises TimeoutError that says what did not happen."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.05)
