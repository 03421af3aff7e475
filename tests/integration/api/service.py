"""The API under test: a real server process thread, two tenants with keys, and what a worker would have done.

`left_behind` counts every row and every object, so that a refused request can be shown to leave nothing.
"""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from mypy_boto3_s3.client import S3Client
from sqlalchemy import Connection, Engine, event, func, select, text

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.project import Project
from app.db.schema import metadata
from app.db.session import Database
from app.domain.ids import new_id
from app.domain.object_keys import upload_key
from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState, UploadPurpose, UploadState
from app.live.ports import Ports
from app.server.serving_options import server_options
from app.services import api_keys
from app.storage.s3 import S3Store
from tests.fakes.job_publisher import FakeJobPublisher

MIB = 1024 * 1024
NOT_CHANGED_BY_REFUSALS = {"api_keys"}  # last_used_at


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve the application on a free port; yields its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    options = server_options(app.state.ports.settings)
    config = uvicorn.Config(app, log_config=None, lifespan="on", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in 30 s"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not stop"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A project, one of its keys, and a client that sends it."""

    project_id: str
    key: str
    http: httpx.Client


@dataclass(kw_only=True)
class Service:
    """One running API."""

    url: str
    app: FastAPI
    store: S3Store
    publisher: FakeJobPublisher
    ours: Tenant
    theirs: Tenant
    engine: Engine
    """The tests' own way to the database: as operators see it, every project."""
    database: Database
    """The same, for units of work; the application's own is `ports.database`."""
    s3: S3Client
    """The tests' own way to the store."""

    @property
    def ports(self) -> Ports:
        ports: Ports = self.app.state.ports
        return ports

    # -- what is there

    def state(self) -> dict[str, Any]:
        """The number of rows of every table, every object's key, every unfinished multipart upload."""
        with self.engine.connect() as connection:
            found: dict[str, Any] = {
                table.name: connection.scalar(select(func.count()).select_from(table))
                for table in metadata.sorted_tables
                if table.name not in NOT_CHANGED_BY_REFUSALS
            }
        found["objects"] = sorted(stored.key for stored in self.store.list_prefix(""))
        found["multipart"] = self.multipart_keys()
        return found

    def multipart_keys(self) -> list[str]:
        """Keys of unfinished multipart uploads at the store."""
        answer = self.s3.list_multipart_uploads(Bucket=self.store.bucket)
        return sorted(upload["Key"] for upload in answer.get("Uploads", []))

    @contextlib.contextmanager
    def nothing_left_behind(self) -> Iterator[None]:
        """What happens inside changes no row count, no object, no multipart upload."""
        before = self.state()
        yield
        assert self.state() == before

    def execute(self, statement: str, **values: Any) -> None:
        """Change the database behind the service's back."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    # -- what a worker would have done

    def checkpoint(
        self, state: CheckpointState = CheckpointState.ACCEPTED, *, project_id: str | None = None
    ) -> str:
        """A checkpoint as its inspection leaves it."""
        project = project_id or self.ours.project_id
        upload = Upload(
            id=new_id("upl"),
            project_id=project,
            purpose=UploadPurpose.CHECKPOINT,
            filename="clip.pt",
            size_bytes=3,
            declared={},
            part_size_bytes=MIB,
            num_parts=1,
            state=UploadState.COMPLETED,
            expires_at=func.now(),
        )
        upload.object_key = upload_key(project, upload.id)
        is_accepted = state is CheckpointState.ACCEPTED
        checkpoint = Checkpoint(
            id=new_id("ckpt"),
            project_id=project,
            upload_id=upload.id,
            filename="clip.pt",
            size_bytes=3,
            sha256=hashlib.sha256(b"abc").hexdigest(),
            state=state,
            declared={},
            weights_sha256="0" * 64 if is_accepted else None,
            inspection=INSPECTION if is_accepted else None,
            error=REJECTION if state is CheckpointState.REJECTED else None,
        )
        with self.database.unit_of_work() as unit:
            unit.uploads.add(upload)
            unit.checkpoints.add(checkpoint)
        return checkpoint.id

    def dataset(
        self,
        kind: DatasetKind,
        state: DatasetState = DatasetState.READY,
        *,
        project_id: str | None = None,
        class_names: tuple[str, ...] = ("zero", "one", "banana"),
    ) -> str:
        """A dataset as its validation leaves it."""
        is_labelled = kind is DatasetKind.LABELLED
        summary = {
            "kind": kind.value,
            "sha256": "1" * 64,
            "num_shards": 2,
            "num_samples": 100,
            "num_skipped": 1,
            "skipped_reasons": {"image_damaged": 1},
            "skipped_examples": ["00000017: image_damaged"],
            "class_names": list(class_names) if is_labelled else None,
            "templates": None,
            "images_per_class": [34, 33, 33] if is_labelled else None,
        }
        row = Dataset(
            id=new_id("ds"),
            project_id=project_id or self.ours.project_id,
            kind=kind,
            uri="s3://data/x/",
            max_skipped_share=0.01,
            state=state,
            summary=summary if state is DatasetState.READY else None,
        )
        with self.database.unit_of_work() as unit:
            unit.datasets.add(row)
        return row.id

    def sanitize_order(self, **changes: Any) -> dict[str, Any]:
        """A body that creates a job."""
        return {
            "kind": "sanitize",
            "checkpoint_id": self.checkpoint(),
            "dataset_id": self.dataset(DatasetKind.PAIRS),
            "audit": {"dataset_id": self.dataset(DatasetKind.LABELLED), "target": "banana"},
        } | changes

    @contextlib.contextmanager
    def statements(self) -> Iterator[list[str]]:
        """What requests ask of the database meanwhile, each on a line; not what begins a transaction."""
        asked: list[str] = []

        def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
            if connection.engine is not self.engine and not statement.startswith("SELECT set_config"):
                asked.append(" ".join(statement.split()))

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield asked
        finally:
            event.remove(Engine, "before_cursor_execute", note)

    def set_job(self, job_id: str, state: JobState, **values: Any) -> None:
        """Put a job into a state, as a worker would, with a new version."""
        sets = "".join(f", {name} = :{name}" for name in values)
        self.execute(
            f"UPDATE jobs SET state = :state, version = version + 1{sets} WHERE id = :id",
            state=state.value,
            id=job_id,
            **values,
        )


INSPECTION = {
    "upload_sha256": hashlib.sha256(b"abc").hexdigest(),
    "size_bytes": 3,
    "weights_sha256": "0" * 64,
    "layout": "research",
    "architecture": {"model_cfg": {"embed_dim": 64}, "preprocess_cfg": {}},
    "architecture_name": "ModifiedResNet [1,1,1,1] width 24, 32 px",
    "num_parameters": 1234,
    "dtype": "float32",
    "assumed": {"quick_gelu": "true: default of the research layout"},
    "findings": ["The optimizer state was stepped over."],
}
REJECTION = {
    "code": "pickle_forbidden_global",
    "message": "The pickle names os.system.",
    "remedy": "Save a state dict with torch.save, or safetensors.",
    "where": "data.pkl",
    "phase": "inspect",
    "retryable": False,
}


def tenant(database: Database, url: str, name: str) -> Tenant:
    """A project with a key that may do everything."""
    with database.unit_of_work() as unit:
        project = unit.projects.add(Project(id=new_id("prj"), name=name))
        _, key = api_keys.issue(unit, project_id=project.id, name="tests")
    return Tenant(
        project_id=project.id,
        key=key,
        http=httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60),
    )


def refused(answer: httpx.Response, status: int, code: str, pointer: str | None = None) -> dict[str, Any]:
    """The problem of an answer, after checking all that every problem must have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"] == f"urn:cleanclip:problem:{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"].endswith(tuple(".)")) or body["errors"], body
    assert body["remedy"], "a refusal says what to do"
    assert "Traceback" not in answer.text
    if pointer is not None:
        assert pointer in [error["pointer"] for error in body["errors"]], body["errors"]
    if status in {409, 429, 503} and body.get("quota", {}).get("name") not in {
        "stored_bytes",
        "row_bytes",
    }:  # waiting won't help
        assert int(answer.headers["retry-after"]) >= 1
    return body
