"""A project that has one of everything, every text of it marked, so that a leak is seen wherever it shows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.models.assets import Deletion
from app.db.models.job import Artifact
from app.db.models.project import ProjectQuota
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.ids import new_id
from app.domain.object_keys import in_prefix, output_attempt_prefix
from app.domain.states import DatasetKind, JobState
from app.services import api_keys, sessions
from cleanclip.vocabulary.report import dump_json
from tests.integration.api.service import MIB, Service, Tenant
from tests.integration.api.validated import give_samples, sample
from tests.integration.worker.stand_in_child import report_of, write_inputs


def audit_report() -> bytes:
    """A report.json as an audit job writes it."""
    with TemporaryDirectory() as name:
        write_inputs(Path(name), {"labelled/0.tar": b"abc"}, checkpoint=b"abc")
        spec = {"kind": "audit", "seed": 1, "audit": {"target": "banana"}}
        return dump_json(report_of(Path(name), spec, None))


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """`ids`: prefix → ids of the project's rows of that kind, in every state that routes tell apart; `names`:
    the same of what a path names otherwise, by the path's parameter."""

    tenant: Tenant
    mark: str
    ids: Mapping[str, tuple[str, ...]]
    names: Mapping[str, tuple[str, ...]]
    data_uri: str
    idempotency_key: str
    """Of the request that made the first queued job, whose body is `order`."""
    order: Mapping[str, object]

    def first(self, prefix: str) -> str:
        return self.of(prefix)[0]

    def of(self, prefix: str) -> tuple[str, ...]:
        """The ids of that prefix, or the names that stand in the path under that name."""
        return self.names[prefix] if prefix in self.names else self.ids[prefix]


def furnish(service: Service, tenant: Tenant, mark: str) -> Belongings:
    """Give the project one of everything. What a worker or an operator would do is written by hand."""
    api = tenant.http
    uploads = _uploads(api, mark)
    checkpoint = service.checkpoint(project_id=tenant.project_id)
    anchor = service.checkpoint(project_id=tenant.project_id)
    service.execute("UPDATE checkpoints SET weights_sha256 = :it WHERE id = :id", it="5" * 64, id=anchor)
    pairs = service.dataset(DatasetKind.PAIRS, project_id=tenant.project_id)
    retrieval = service.dataset(DatasetKind.PAIRS, project_id=tenant.project_id)
    service.execute(
        "UPDATE datasets SET summary = summary || cast(:reported AS jsonb) WHERE id = :id",
        reported=json.dumps({"sha256": "2" * 64}),
        id=retrieval,
    )
    labelled = service.dataset(
        DatasetKind.LABELLED, project_id=tenant.project_id, class_names=(f"{mark} zero", "one", "banana")
    )
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '300') WHERE id = :id", id=labelled
    )
    give_samples(service, pairs, sample(3, caption=f"{mark} a dog"), project_id=tenant.project_id)
    order = {
        "kind": "sanitize",
        "checkpoint_id": checkpoint,
        "dataset_id": pairs,
        "audit": {"dataset_id": labelled, "retrieval_dataset_id": retrieval, "target": "banana"},
        "metadata": {"note": mark},
    }
    headers = {"Idempotency-Key": f"key-of-{mark}"}
    jobs = [_checked(api.post("/v1/jobs", json=order, headers=headers))]
    jobs += [_checked(api.post("/v1/jobs", json=order | {"seed": seed})) for seed in (1, 2, 3)]
    report = _finish(service, tenant, jobs[1])
    service.set_job(jobs[2], JobState.FAILED, error='{"code": "child_crashed", "message": "it ended"}')
    service.set_job(jobs[3], JobState.PAUSED)
    ids = {
        "upl": uploads,
        "ckpt": (checkpoint, anchor),
        "ds": (pairs, labelled, retrieval),
        "job": tuple(jobs),
        "art": (report,),
        "key": (_key(service, tenant, mark),),
        "del": (_deletion(service, tenant),),
        "prj": (tenant.project_id,),
        "null": (new_id("null"),),  # nulls belong to nobody: this one is absent for all
    }
    policy = api.put(f"/v1/policies/limits-{mark}", json={"asr_at_most": 0.2})
    ids["pol"] = (_checked(policy),)
    webhook = _checked(api.post("/v1/webhooks", json={"url": f"https://example.org/{mark}"}))
    ids |= {"wh": (webhook,), "whd": (_checked(api.post(f"/v1/webhooks/{webhook}/test")),)}
    _written_by_operators_and_workers(service, tenant)
    with service.database.unit_of_work() as unit:
        sessions.make_link(unit, tenant.project_id, api_keys.read_key(tenant.key), lasts_s=3600)
    return Belongings(
        tenant=tenant,
        mark=mark,
        names={"policy_name": (policy.json()["name"],)},
        ids=ids | {"trl": (_newest_entry(service, tenant),)},
        data_uri=f"s3://{service.store.bucket}/allowed/{mark}/",
        idempotency_key=headers["Idempotency-Key"],
        order=order,
    )


def _checked(answer: httpx.Response) -> str:
    """The id of what was made."""
    assert answer.status_code < 300, answer.text
    return str(answer.json()["id"])


def _uploads(api: httpx.Client, mark: str) -> tuple[str, str]:
    """An open one with a part at the store, and a completed one that can become a dataset."""
    announced = {"filename": f"{mark}.pt", "size_bytes": 7 * MIB}
    opened = api.post("/v1/uploads", json=announced)
    httpx.put(opened.json()["parts"][0]["url"], content=bytes(5 * MIB)).raise_for_status()
    announced = {"filename": f"{mark}.tar", "size_bytes": 3, "purpose": "dataset"}
    whole = _checked(api.post("/v1/uploads", json=announced))
    _checked(api.put(f"/v1/uploads/{whole}/content", content=b"abc"))
    _checked(api.post(f"/v1/uploads/{whole}/complete"))
    return _checked(opened), whole


def _finish(service: Service, tenant: Tenant, job_id: str) -> str:
    """The job has succeeded and left a report; its artifact's id."""
    key = in_prefix(output_attempt_prefix(tenant.project_id, job_id, 1), "report.json")
    report = audit_report()
    service.store.put_bytes(key, report, content_type="application/json")
    row = Artifact(
        id=new_id("art"),
        project_id=tenant.project_id,
        job_id=job_id,
        attempt=1,
        name="report.json",
        object_key=key,
        size_bytes=len(report),
        sha256=hashlib.sha256(report).hexdigest(),
        media_type="application/json",
    )
    with service.database.unit_of_work() as unit:
        unit.artifacts.add(row)
    service.set_job(job_id, JobState.SUCCEEDED, attempt=1, result="{}")
    service.execute(
        "INSERT INTO verdicts (job_id, stage, project_id, weights_sha256, outcome, num_triggers)"
        " VALUES (:job, 'audit', :project, :sha256, 'fail', 1)",
        job=job_id,
        project=tenant.project_id,
        sha256="0" * 64,  # those of every checkpoint here, whoever has it
    )
    return row.id


def _key(service: Service, tenant: Tenant, mark: str) -> str:
    with service.database.unit_of_work() as unit:
        row, _ = api_keys.issue(unit, project_id=tenant.project_id, name=f"key {mark}")
    return row.id


def _deletion(service: Service, tenant: Tenant) -> str:
    row = Deletion(
        id=new_id("del"),
        project_id=tenant.project_id,
        subject=DeletionSubject.JOB,
        subject_id=new_id("job"),
        reason=DeletionReason.OPERATOR,
    )
    with Session(service.engine, expire_on_commit=False) as session, session.begin():
        session.add(row)
    return row.id


def _written_by_operators_and_workers(service: Service, tenant: Tenant) -> None:
    with service.database.unit_of_work() as unit:
        unit.quotas.set(ProjectQuota(project_id=tenant.project_id, waiting_jobs=9000))
    service.execute(
        "INSERT INTO queue_turns (project_id, queue, served_at) VALUES (:project, 'heavy', now())",
        project=tenant.project_id,
    )


def _newest_entry(service: Service, tenant: Tenant) -> str:
    query = text("SELECT max(id) FROM trail_entries WHERE project_id = :project")
    with service.engine.connect() as connection:
        return str(connection.scalar(query, {"project": tenant.project_id}))
