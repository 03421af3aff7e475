"""A project with checkpoints, data and jobs in a real database and object store, and runners to run them."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.job import Job, JobEvent
from app.db.models.project import Project
from app.db.repositories.attempt_values import CheckpointAccepted, NewArtifact
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id
from app.domain.object_keys import checkpoint_attempt_prefix, upload_key
from app.domain.states import DatasetKind, DatasetState, JobKind, JobState, UploadPurpose, UploadState
from app.schemas.jobs import JobOut
from app.settings import DatasetSettings
from app.storage.port import ObjectStore
from tests.fakes.job_publisher import FakeJobPublisher
from tests.integration.worker.stand_in_child import GO_ON, KEPT, canonical_files
from worker.attempt import AttemptOptions
from worker.confinement.sandbox import ChildLimits
from worker.runner import Runner

STAND_IN = Path(__file__).with_name("stand_in_child.py")
STAND_IN_FILES = (str(STAND_IN), *sorted(str(path) for path in KEPT.rglob("*") if path.is_file()))
"""All that a child of the stand-in reads, to be named in its command."""
GIB = 1024**3
AUDIT = {"target": "banana"}
RECIPE = {"method": "cleanclip"}


class Running:
    """A runner at work in a thread."""

    def __init__(self, runner: Runner, job_id: str, leaving: threading.Event) -> None:
        self.leaving = leaving
        self.state: JobState | None = None
        self.error: BaseException | None = None

        def run() -> None:
            try:
                self.state = runner.run(job_id)
            except BaseException as error:  # noqa: BLE001 - raised again in `join`
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def join(self, timeout_s: float = 60.0) -> JobState | None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the runner did not end in time"
        if self.error is not None:
            raise self.error
        return self.state


class World:
    """Everything below belongs to one fresh project."""

    def __init__(self, database: Database, store: ObjectStore, folder: Path, *, hands: Database) -> None:
        """`database` is a worker's; `hands` an operator's, for what requests and tests do."""
        self.database = database
        self.hands = hands
        self.store = store
        self.folder = folder
        self.work_dir = folder / "work"
        self.publisher = FakeJobPublisher()
        self.project_id = new_id("prj")
        with hands.unit_of_work() as unit:
            unit.projects.add(Project(id=self.project_id, name=self.project_id))

    # -- rows and objects

    def upload(self, data: bytes, *, purpose: UploadPurpose = UploadPurpose.CHECKPOINT) -> Upload:
        upload_id = new_id("upl")
        key = upload_key(self.project_id, upload_id)
        self.store.put_bytes(key, data)
        with self.hands.unit_of_work() as unit:
            return unit.uploads.add(
                Upload(
                    id=upload_id,
                    project_id=self.project_id,
                    purpose=purpose,
                    filename="clip.pt" if purpose is UploadPurpose.CHECKPOINT else "pairs.tar",
                    size_bytes=len(data),
                    declared={},
                    part_size_bytes=len(data),
                    num_parts=1,
                    object_key=key,
                    state=UploadState.COMPLETED,
                    expires_at=_far_future(),
                )
            )

    def checkpoint(self, data: bytes = b"CLIP weights") -> tuple[Checkpoint, Job]:
        """Quarantined, with its inspect job queued."""
        upload = self.upload(data)
        with self.hands.unit_of_work() as unit:
            checkpoint = unit.checkpoints.add(
                Checkpoint(
                    id=new_id("ckpt"),
                    project_id=self.project_id,
                    upload_id=upload.id,
                    filename=upload.filename,
                    size_bytes=len(data),
                    declared={},
                    upload_object_key=upload.object_key,
                )
            )
            job = unit.jobs.enqueue(self._job(JobKind.INSPECT, checkpoint_id=checkpoint.id))
            checkpoint.inspect_job_id = job.id
        return checkpoint, job

    def accepted_checkpoint(self, data: bytes = b"CLIP weights") -> str:
        """Accepted by hand, its canonical files in the store."""
        checkpoint, job = self.checkpoint(data)
        digest = hashlib.sha256(data).hexdigest()
        files, found = canonical_files(data)
        with self.hands.unit_of_work() as unit:
            claimed = unit.attempts.claim(job.id, owner="by hand", lease_s=60)
            assert claimed is not None
            prefix = checkpoint_attempt_prefix(self.project_id, checkpoint.id, claimed.attempt)
            for name, body in files.items():
                self.store.put_bytes(prefix + name, body)
            state = unit.attempts.finish_succeeded(
                job.id,
                claimed.attempt,
                result={},
                artifacts=[
                    NewArtifact(
                        name=name,
                        object_key=prefix + name,
                        size_bytes=len(body),
                        sha256=hashlib.sha256(body).hexdigest(),
                        media_type="application/octet-stream",
                    )
                    for name, body in files.items()
                ],
                effect=CheckpointAccepted(
                    sha256=digest,
                    canonical_prefix=prefix,
                    weights_sha256=found["weights_sha256"],
                    inspection=found,
                ),
            )
        assert state is JobState.SUCCEEDED
        return checkpoint.id

    def dataset(self, kind: DatasetKind, shards: dict[str, bytes], **values: Any) -> tuple[Dataset, Job]:
        """Validating, its shards in the store, its validate job queued."""
        dataset_id = new_id("ds")
        prefix = f"data/{dataset_id}/"
        for name, body in shards.items():
            self.store.put_bytes(prefix + name, body)
        values = {"uri": f"s3://{self.store.bucket}/{prefix}", "max_skipped_share": 0.01} | values
        with self.hands.unit_of_work() as unit:
            dataset = unit.datasets.add(
                Dataset(id=dataset_id, project_id=self.project_id, kind=kind, **values)
            )
            job = unit.jobs.enqueue(self._job(JobKind.VALIDATE, dataset_id=dataset_id))
            dataset.validate_job_id = job.id
        return dataset, job

    def ready_dataset(self, kind: DatasetKind, body: bytes = b"shard") -> str:
        """Ready by hand: one pinned shard."""
        dataset, job = self.dataset(kind, {"0.tar": body})
        with self.hands.unit_of_work() as unit:
            unit.jobs.request_cancel(self.project_id, job.id)
            row = unit.datasets.get(self.project_id, dataset.id, for_update=True)
            row.state = DatasetState.READY
            row.error = None
            row.files = [
                {
                    "bucket": self.store.bucket,
                    "key": f"data/{dataset.id}/0.tar",
                    "name": "0.tar",
                    "size_bytes": len(body),
                    "etag": "",
                    "sha256": hashlib.sha256(body).hexdigest(),
                }
            ]
        return dataset.id

    def sanitize_job(self, **values: Any) -> Job:
        values = {
            "checkpoint_id": self.accepted_checkpoint(),
            "dataset_id": self.ready_dataset(DatasetKind.PAIRS),
            "labelled_dataset_id": self.ready_dataset(DatasetKind.LABELLED),
            "spec": {"version": 1, "recipe": RECIPE, "audit": AUDIT},
        } | values
        return self.enqueued(JobKind.SANITIZE, **values)

    def audit_job(self, **values: Any) -> Job:
        values = {
            "checkpoint_id": self.accepted_checkpoint(),
            "labelled_dataset_id": self.ready_dataset(DatasetKind.LABELLED),
            "spec": {"version": 1, "audit": AUDIT},
        } | values
        return self.enqueued(JobKind.AUDIT, **values)

    def enqueued(self, kind: JobKind, **values: Any) -> Job:
        with self.hands.unit_of_work() as unit:
            return unit.jobs.enqueue(self._job(kind, **values))

    def _job(self, kind: JobKind, **values: Any) -> Job:
        values = {"spec": {"version": 1}, "seed": 7} | values
        return Job(id=new_id("job"), project_id=self.project_id, kind=kind, **values)

    # -- looking

    def job(self, job_id: str) -> Job:
        with self.hands.unit_of_work() as unit:
            return unit.jobs.get(self.project_id, job_id)

    def shown(self, job_id: str) -> JobOut:
        """As the API shows it, and as its document says that it does."""
        return JobOut.model_validate_json(JobOut.of(self.job(job_id)).model_dump_json())

    def is_training(self, job_id: str, *, step: int) -> bool:
        """Whether fine-tuning has come to that step, as the row tells it."""
        job = self.job(job_id)
        return job.phase == "finetune" and (job.progress.get("step") or 0) >= step

    def let_go_on(self) -> None:
        """What the child of `work_until_told` waits for."""
        (folder,) = self.work_dir.glob("*/job")
        (folder / GO_ON).touch()

    def events(self, job_id: str) -> list[JobEvent]:
        with self.hands.unit_of_work() as unit:
            rows, has_more = unit.events.page(self.project_id, job_id, None, 1000)
        assert not has_more
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1)), "event numbers have a gap"
        return list(rows)

    def event_types(self, job_id: str) -> list[str]:
        return [event.type for event in self.events(job_id)]

    def artifacts(self, job_id: str) -> dict[str, bytes]:
        """Every artifact's bytes, each checked against its row."""
        with self.hands.unit_of_work() as unit:
            rows = unit.artifacts.of_job(self.project_id, job_id)
        bodies = {}
        for row in rows:
            body = self.store.read_bytes(row.object_key, max_bytes=10**8)
            assert hashlib.sha256(body).hexdigest() == row.sha256
            assert len(body) == row.size_bytes
            bodies[row.name] = body
        return bodies

    def keys(self, prefix: str) -> list[str]:
        return [item.key for item in self.store.list_prefix(prefix)]

    # -- running

    def runner(
        self, behaviour: str = "work", *, leaving: threading.Event | None = None, **options: Any
    ) -> Runner:
        limits = options.pop("limits", {})
        values: dict[str, Any] = {
            "work_dir": self.work_dir,
            "limits": ChildLimits(
                **(
                    {"memory_bytes": 4 * GIB, "file_bytes": GIB, "hostile_cpu_s": 60, "num_threads": 1}
                    | limits
                )
            ),
            "datasets": DatasetSettings(allowed_prefixes=(f"s3://{self.store.bucket}/",)),
            "poll_s": 0.2,
            "child_command": (sys.executable, *STAND_IN_FILES, behaviour),
        }
        store = options.pop("store", self.store)
        database = options.pop("database", self.database)
        return Runner(
            database,
            store,
            self.publisher,
            AttemptOptions(**(values | options)),
            leaving=leaving or threading.Event(),
        )

    def start(self, job_id: str, behaviour: str = "work", **options: Any) -> Running:
        leaving = threading.Event()
        return Running(self.runner(behaviour, leaving=leaving, **options), job_id, leaving)

    def expire_lease(self, job_id: str) -> None:
        """As if the lease had run out."""
        with self.hands.unit_of_work() as unit:
            job = unit.jobs.get(self.project_id, job_id, for_update=True)
            assert job.lease_expires_at is not None
            job.lease_expires_at = _long_ago()


@contextmanager
def opened_world(database_url: str, store: ObjectStore, folder: Path) -> Iterator[World]:
    """A world with connections of its own."""
    database = Database(build_engine(database_url, role=Role.WORKER))
    hands = Database(build_engine(database_url, role=Role.OPERATOR))
    try:
        yield World(database, store, folder, hands=hands)
    finally:
        database.dispose()
        hands.dispose()


def wait_until(is_true: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def _far_future() -> Any:
    from sqlalchemy import func

    return func.now() + func.make_interval(1)


def _long_ago() -> Any:
    from sqlalchemy import func

    return func.now() - func.make_interval(1)
