"""Jobs as a worker leaves them, with the figures of a kept report (tests/fixtures/reports)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from app.db.models.artifact import Artifact
from app.domain.ids import new_id
from app.domain.states import DatasetKind, JobState
from tests.fixtures.kept_reports import document
from tests.integration.api.service import Service


def ordered(service: Service, *, filename: str = "clip.pt", target: str = "banana", **changes: Any) -> str:
    """A waiting job; `changes` of the body of its order. Returns its id."""
    body = service.sanitize_order() | changes
    if "audit" not in changes:
        labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", "one", target))
        body["audit"] = {"dataset_id": labelled, "target": target}
    answer = service.ours.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    service.execute(
        "UPDATE checkpoints SET filename = :filename WHERE id = :id",
        filename=filename,
        id=body["checkpoint_id"],
    )
    return job_id


def finished(service: Service, report: str = "cleaned", *, version: str = "", **changes: Any) -> str:
    """A job that succeeded with the figures of that report; with `version` it left the report, too."""
    found = document(report)
    if found["kind"] == "audit":
        labelled = service.dataset(DatasetKind.LABELLED)
        changes = {"kind": "audit", "audit": {"dataset_id": labelled, "target": "banana"}, **changes}
        job_id = _audit(service, changes)
    else:
        job_id = ordered(service, **changes)
    result = {name: found.get(name) for name in ("verdict", "before", "after", "ca_lost")}
    service.set_job(
        job_id,
        JobState.SUCCEEDED,
        result=json.dumps(result),
        started_at="2026-11-26T08:00:00Z",
        finished_at="2026-11-26T08:03:20Z",
    )
    if version:
        found["environment"]["code_version"] = version
        _leave(service, job_id, json.dumps(found).encode())
    return job_id


def _audit(service: Service, changes: dict[str, Any]) -> str:
    body = {"checkpoint_id": service.checkpoint(), **changes}
    answer = service.ours.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def _leave(service: Service, job_id: str, report: bytes) -> None:
    project_id = service.ours.project_id
    key = f"outputs/{project_id}/{job_id}/1/report.json"
    service.store.put_bytes(key, report)
    with service.database.unit_of_work() as unit:
        unit.artifacts.add(
            Artifact(
                id=new_id("art"),
                project_id=project_id,
                job_id=job_id,
                attempt=1,
                name="report.json",
                object_key=key,
                size_bytes=len(report),
                sha256=hashlib.sha256(report).hexdigest(),
                media_type="application/json",
            )
        )


def forget_jobs(service: Service) -> None:
    """What other tests left."""
    service.execute("UPDATE jobs SET deleted_at = now(), state = 'cancelled'")
