"""The whole service running: API, two workers with real children, sweeper; two tenants; what lies where.

The service reaches its object store through a gate that tests can shut; clients reach the store directly.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mypy_boto3_s3.client import S3Client

from app.db.session import Database
from app.local.service import Service
from app.storage.s3 import S3Store
from cleanclip.models import Job
from cleanclip.retries import Clock
from cleanclip.sync.client import Client
from lab.drills.processes import processes_in
from tests.end_to_end.gate import Gate
from tests.integration.api.service import Tenant

PATIENCE_S = 900.0
"""For what takes seconds on a quiet machine: a busy one must not fail a test."""
LOOK_EVERY_S = 0.1
QUICK_CLOCK = Clock(sleep=lambda seconds: time.sleep(min(seconds, 0.2)))
"""Clients that poll often: the service is our own and waits for nobody else."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """`ours` has good things in it; `careless` sends bad ones."""

    service: Service
    database: Database
    store: S3Store
    """The tests' own way to the store, not through the gate."""
    s3: S3Client
    gate: Gate
    ours: Tenant
    careless: Tenant
    work_dir: Path
    shelf: Path
    """Of tokenizers, which its workers name to children."""
    pids: Mapping[str, int]
    """Of the service's processes, as they were started."""

    @property
    def url(self) -> str:
        return self.service.url

    def client(self, tenant: Tenant) -> Client:
        return Client(self.url, tenant.key, clock=QUICK_CLOCK)

    # -- datasets

    def put_data(self, name: str, files: Mapping[str, bytes]) -> str:
        """Store files where datasets may lie; returns the reference to them."""
        for file, content in files.items():
            self.store.put_bytes(f"data/{name}/{file}", content)
        return f"s3://{self.store.bucket}/data/{name}/"

    # -- what is there

    def objects(self, tenant: Tenant) -> list[str]:
        """Keys of all objects and unfinished multipart uploads that are the tenant's."""
        unfinished = self.s3.list_multipart_uploads(Bucket=self.store.bucket).get("Uploads", [])
        keys = [stored.key for stored in self.store.list_prefix("")]
        keys += [f"{upload['Key']} (unfinished)" for upload in unfinished]
        return sorted(key for key in keys if f"/{tenant.project_id}/" in key)

    def children(self) -> list[int]:
        """Processes that work in the folder of a sanitize or audit job."""
        return processes_in(self.work_dir / "worker-heavy")

    def job_folders(self) -> list[str]:
        """Of sanitize and audit jobs."""
        return sorted(path.name for path in self.work_dir.glob("worker-heavy/job_*"))

    def assert_same_processes(self) -> None:
        """No process of the service has ended since the start."""
        for name, process in self.service.processes.items():
            assert process.is_running, process.log_tail()
            assert process.pid == self.pids[name]


def wait_until(is_true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(LOOK_EVERY_S)


def wait_for_job(
    client: Client, job_id: str, is_there: Callable[[Job], object], what: str, timeout_s: float = PATIENCE_S
) -> Job:
    """Poll a job until it stands as wished; an end that was not wished fails at once."""
    deadline = time.monotonic() + timeout_s
    while True:
        job = client.jobs.get(job_id)
        if is_there(job):
            return job
        assert not job.is_finished, f"{what}: the job is {job.state} ({job.error})"
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s, the job is {job.state}"
        time.sleep(LOOK_EVERY_S)
