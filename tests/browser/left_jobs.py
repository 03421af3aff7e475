"""Jobs as a worker leaves them at each point of their life: its writes, through the repositories it uses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from app.db.repositories.attempt_values import NewArtifact
from app.domain.object_keys import in_prefix, output_attempt_prefix
from app.domain.states import DatasetKind, JobPhase, PhaseState
from sanitizer.report import Report, load_json
from tests.fixtures.kept_reports import document
from tests.integration.api.service import Service
from worker.publishing import shown_figures

LEASE_S = 60.0
SIGNED = {"state": "signed", "key_sha256": "7" * 64, "statement_sha256": "8" * 64}


def ordered(
    service: Service, *, kind: str = "sanitize", filename: str = "", target: str = "", **changes: Any
) -> str:
    """A job that waits; `changes` of the body of its order."""
    if target:
        labelled = service.dataset(DatasetKind.LABELLED, class_names=("zero", "one", target))
        changes = {"audit": {"dataset_id": labelled, "target": target}} | changes
    body = service.sanitize_order(**changes)
    if kind == "audit":
        body = {name: body[name] for name in ("checkpoint_id", "audit")} | changes | {"kind": "audit"}
    if filename:
        service.execute(
            "UPDATE checkpoints SET filename = :filename WHERE id = :id",
            filename=filename,
            id=body["checkpoint_id"],
        )
    answer = service.ours.http.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def taken_up(service: Service, job_id: str) -> int:
    """By a worker; returns the attempt."""
    with service.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job_id, owner="tests", lease_s=LEASE_S)
    assert claimed is not None
    return claimed.attempt


def beat(service: Service, job_id: str, attempt: int, phase: JobPhase, **progress: Any) -> None:
    """A heartbeat from that phase of a cleaning; the phases before it are over."""
    order = list(JobPhase)
    phases = {
        one: PhaseState.RUNNING if one is phase else PhaseState.SUCCEEDED
        for one in order[: order.index(phase) + 1]
    }
    with service.database.unit_of_work() as unit:
        named = {one["name"] for one in unit.jobs.find(job_id).phases}
        assert unit.attempts.heartbeat(
            job_id,
            attempt,
            lease_s=LEASE_S,
            progress={"fraction": 0.0} | progress,
            phases={one: state for one, state in phases.items() if one.value in named},
        )


def trains(service: Service, job_id: str, attempt: int, step: int = 120, **progress: Any) -> None:
    """It is in the middle of cleaning."""
    curve = [[one, 3.0 - one / 100] for one in range(5, step + 1, 5)]
    told: dict[str, Any] = {
        "fraction": 0.42,
        "step": step,
        "total_steps": 500,
        "eta_s": 190.0,
        "rate": 851.0,
        "rate_unit": "pairs",
        "loss": curve[-1][1],
        "loss_curve": curve,
    }
    beat(service, job_id, attempt, JobPhase.FINETUNE, **told | progress)


def noted(service: Service, job_id: str, attempt: int, message: str, level: str = "info") -> None:
    with service.database.unit_of_work() as unit:
        assert unit.attempts.record_event(job_id, attempt, "noted", {"level": level, "message": message})


def fails(service: Service, job_id: str, attempt: int, *, result: dict[str, Any] | None = None) -> None:
    """The loss ran away."""
    error = {
        "code": "loss_diverged",
        "message": "At update 231 of 500 the running mean of the loss is 9.1, over its bound of 8.3.",
        "remedy": "Order it again with a lower learning rate.",
        "phase": "finetune",
        "retryable": False,
    }
    with service.database.unit_of_work() as unit:
        assert unit.attempts.finish_failed(job_id, attempt, error=error, result=result)


def succeeds(
    service: Service,
    job_id: str,
    attempt: int,
    report: dict[str, Any] | bytes,
    *,
    signature: dict[str, Any] | None = None,
) -> None:
    """Leaves this report.json and the pages beside it."""
    content = report if isinstance(report, bytes) else json.dumps(report).encode()
    files = {"report.json": content, "report.html": b"<!doctype html>\n", "report.md": b"# A report\n"}
    artifacts = []
    for name, data in files.items():
        key = in_prefix(output_attempt_prefix(service.ours.project_id, job_id, attempt), name)
        service.store.put_bytes(key, data, content_type="application/octet-stream")
        artifacts.append(
            NewArtifact(
                name=name,
                object_key=key,
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                media_type="application/octet-stream",
            )
        )
    try:
        result = judgement(load_json(content))
    except ValueError:
        result = {}
    with service.database.unit_of_work() as unit:
        result |= {} if signature is None else {"signature": signature}
        assert unit.attempts.finish_succeeded(job_id, attempt, result=result, artifacts=artifacts)


def judgement(report: Report) -> dict[str, Any]:
    """The figures that a worker writes on the job's row."""
    return {
        "verdict": asdict(report.verdict),
        "before": shown_figures(report.before),
        "after": None if report.after is None else shown_figures(report.after),
        "ca_lost": None if report.ca_lost is None else asdict(report.ca_lost),
    }


def finished(
    service: Service,
    report: str | dict[str, Any] = "cleaned",
    *,
    signature: dict[str, Any] | None = None,
    version: str = "",
    **changes: Any,
) -> str:
    """A job that ended after 3 min 20 s with this report: JSON, or its name in tests/fixtures/reports."""
    told = document(report) if isinstance(report, str) else report
    if version:
        told["environment"]["code_version"] = version
    job_id = ordered(service, kind=told["kind"], **changes)
    attempt = taken_up(service, job_id)
    succeeds(service, job_id, attempt, told, signature=signature)
    service.execute(
        "UPDATE jobs SET started_at = finished_at - interval '200 seconds' WHERE id = :id", id=job_id
    )
    return job_id


def forget_jobs(service: Service) -> None:
    """What other tests left."""
    service.execute("UPDATE jobs SET deleted_at = now(), state = 'cancelled'")


def pairs(service: Service) -> str:
    return service.dataset(DatasetKind.PAIRS)
