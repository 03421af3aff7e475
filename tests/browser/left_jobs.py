"""Jobs as a worker leaves them at each point of their life: its writes, through the repositories it uses."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.db.repositories.attempt_values import NewArtifact, NewVerdict
from app.domain.object_keys import in_prefix, output_attempt_prefix
from app.domain.states import DatasetKind, JobKind, JobPhase, PhaseState
from cleanclip.vocabulary.null_set import dump_null
from cleanclip.vocabulary.report import Report, load_json
from cleanclip.vocabulary.report_kinds import AnyReport, dump_plain
from cleanclip.vocabulary.scan_report import ScanReport, dump_scan
from cleanclip.vocabulary.vet_report import dump_vet_report
from tests.fixtures import text_scans
from tests.fixtures.kept_reports import document
from tests.fixtures.scans import scan_and_null
from tests.fixtures.vettings import vetting
from tests.integration.api.service import Service
from worker.publishing.scanning import scan_verdict
from worker.publishing.searching import result_of
from worker.publishing.shown import shown_figures
from worker.publishing.verdicts import judged_alone, verdict_before_cleaning, verdicts_of
from worker.tracker import Tracker

LEASE_S = 60.0
DIVERGED = "At update 231 of 500 the running mean of the loss is 9.1, over its bound of 8.3."
NUM_STEPS, STEPS_PER_S, PAIRS_PER_STEP = 500, 2.0, 64
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
    if body.get("scan"):  # it needs more images
        service.execute(
            "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '3000') WHERE id = :id",
            id=body["audit"]["dataset_id"],
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
    """It is in the middle of cleaning; the figures are those of a worker's tracker."""
    tracker = Tracker(JobKind.SANITIZE)
    tracker.begin(JobPhase.FINETUNE)
    curve = progress.pop("loss_curve", [[one, 3.0 - one / 100] for one in range(5, step + 1, 5)])
    reported: dict[str, Any] = {
        "step": step,
        "total_steps": NUM_STEPS,
        "eta_s": (NUM_STEPS - step) / STEPS_PER_S,
        "rate": STEPS_PER_S * PAIRS_PER_STEP,
        "rate_unit": "pairs",
        "loss": curve[-1][1],
    }
    tracker.advance(step / NUM_STEPS, **reported | progress)
    beat(service, job_id, attempt, JobPhase.FINETUNE, **tracker.snapshot()[1] | {"loss_curve": curve})


def noted(service: Service, job_id: str, attempt: int, message: str, level: str = "info") -> None:
    with service.database.unit_of_work() as unit:
        assert unit.attempts.record_event(job_id, attempt, "noted", {"level": level, "message": message})


def fails(
    service: Service,
    job_id: str,
    attempt: int,
    *,
    message: str = DIVERGED,
) -> None:
    """The loss ran away."""
    error = {
        "code": "loss_diverged",
        "message": message,
        "remedy": "Order it again with a lower learning rate.",
        "phase": "finetune",
        "retryable": False,
    }
    with service.database.unit_of_work() as unit:
        assert unit.attempts.finish_failed(job_id, attempt, error=error)


def measures_first(service: Service, job_id: str, attempt: int, report: Report) -> None:
    """Its audit before cleaning, as a worker records it."""
    verdict = judged_alone(report.before, report, report.scan)
    result = {
        "preliminary": True,
        "before": shown_figures(report.before),
        "before_verdict": asdict(verdict),
        "architecture": asdict(report.architecture),
    }
    with service.database.unit_of_work() as unit:
        judged = verdict_before_cleaning(report.before, verdict)
        assert unit.attempts.record_first_audit(job_id, attempt, result, judged)


def succeeds(
    service: Service,
    job_id: str,
    attempt: int,
    report: dict[str, Any] | bytes,
    *,
    signature: dict[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Leaves this report.json and the files beside it; every phase was gone through."""
    content = report if isinstance(report, bytes) else json.dumps(report).encode()
    beside = {"report.html": b"<!doctype html>\n", "report.md": b"# A report\n"} if files is None else files
    artifacts = [
        _stored(service, job_id, attempt, name, data)
        for name, data in {"report.json": content, **beside}.items()
    ]
    try:
        reported = load_json(content)
    except ValueError:
        result, verdicts = {}, ()
    else:
        verdicts = tuple(verdicts_of(reported))
        result = judgement(reported)
    beat(service, job_id, attempt, JobPhase.PUBLISH, fraction=0.97)
    with service.database.unit_of_work() as unit:
        result |= {} if signature is None else {"signature": signature}
        assert unit.attempts.finish_succeeded(
            job_id, attempt, result=result, artifacts=artifacts, verdicts=verdicts
        )


def scanned(
    service: Service,
    *,
    with_null: bool = True,
    text: Callable[[str], str] = str,
    change: Callable[[ScanReport], ScanReport] = lambda report: report,
) -> str:
    """A scan that found a trigger; `text` makes of each plain text what a customer would have written."""
    names = ("apple", "banana", text("cherry"))
    report, null = scan_and_null(with_null=with_null, names=names)
    report = change(report)
    labelled = service.dataset(DatasetKind.LABELLED, class_names=names)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '300') WHERE id = :id", id=labelled
    )
    checkpoint = service.checkpoint()
    service.execute(
        "UPDATE checkpoints SET weights_sha256 = :weights WHERE id = :id",
        weights=report.checkpoint.weights_sha256,
        id=checkpoint,
    )
    order = {"kind": "scan", "checkpoint_id": checkpoint, "scan": {"dataset_id": labelled}}
    files = {"report.json": dump_scan(report), "report.html": b"<!doctype html>\n"}
    files |= {"null.json": dump_null(null)} if with_null else {}
    return _searched(service, order, report, files, verdicts=(scan_verdict(report),))


def vetted(service: Service, *, text: Callable[[str], str] = str, with_trusted: bool = True) -> str:
    """A vetting of pairs that set some aside; `text` as of `scanned`."""
    report, excluded = vetting(text=text, with_trusted=with_trusted)
    order = {
        "kind": "vet",
        "checkpoint_id": service.checkpoint(),
        "vet": {"dataset_id": service.dataset(DatasetKind.PAIRS)},
    }
    files = {"report.json": dump_vet_report(report), "report.html": b"<!doctype html>\n"}
    return _searched(service, order, report, files | {"excluded.json": excluded})


def text_scanned(service: Service) -> str:
    """A text scan that found a word."""
    found = text_scans.report()
    labelled = service.dataset(DatasetKind.LABELLED, class_names=text_scans.CLASS_NAMES)
    order = {
        "kind": "text_scan",
        "checkpoint_id": service.checkpoint(),
        "text_scan": {"dataset_id": labelled, "trigger_words": list(found.options.trigger_words)},
    }
    return _searched(
        service, order, found, {"report.json": dump_plain(found), "report.html": b"<!doctype html>\n"}
    )


def _searched(
    service: Service,
    order: dict[str, Any],
    report: AnyReport,
    files: dict[str, bytes],
    verdicts: Sequence[NewVerdict] = (),
) -> str:
    """A job of a kind that changes nothing, as its worker ends it."""
    answer = service.ours.http.post("/v1/jobs", json=order)
    assert answer.status_code == 202, answer.text
    job_id = str(answer.json()["id"])
    attempt = taken_up(service, job_id)
    artifacts = [_stored(service, job_id, attempt, name, data) for name, data in files.items()]
    beat(service, job_id, attempt, JobPhase.PUBLISH, fraction=0.97)
    with service.database.unit_of_work() as unit:
        assert unit.attempts.finish_succeeded(
            job_id, attempt, result=result_of(report), artifacts=artifacts, verdicts=verdicts
        )
    return job_id


def _stored(service: Service, job_id: str, attempt: int, name: str, data: bytes) -> NewArtifact:
    key = in_prefix(output_attempt_prefix(service.ours.project_id, job_id, attempt), name)
    service.store.put_bytes(key, data, content_type="application/octet-stream")
    return NewArtifact(
        name=name,
        object_key=key,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="application/octet-stream",
    )


def judgement(report: Report) -> dict[str, Any]:
    """The figures that a worker writes on the job's row."""
    return {
        "verdict": asdict(report.verdict),
        "headline": report.headline,
        "outcome": report.verdict.outcome,
        "before": shown_figures(report.before),
        "after": None if report.after is None else shown_figures(report.after),
        "ca_lost": None if report.ca_lost is None else asdict(report.ca_lost),
        "attack_changes": [asdict(change) for change in report.attack_changes],
    }


def finished(
    service: Service,
    report: str | dict[str, Any] = "cleaned",
    *,
    signature: dict[str, Any] | None = None,
    version: str = "",
    filename: str = "",
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> str:
    """A job that ended with this report: JSON, or its name in tests/fixtures/reports. It was ordered as the
    report says, but for `changes`; its inputs are those that the report names; it took 88 s, 36 of them
    for each audit, and as long as its training."""
    reported = document(report) if isinstance(report, str) else report
    if version:
        reported["environment"]["code_version"] = version
    job_id = ordered(
        service, kind=reported["kind"], filename=filename, **_order_of(service, reported) | changes
    )
    _read_by(service, job_id, reported)
    attempt = taken_up(service, job_id)
    succeeds(service, job_id, attempt, reported, signature=signature, files=files)
    training_s = reported["training"]["wall_s"] if reported.get("training") else 0.0
    lasted(service, job_id, stage=8, baseline_audit=36, finetune=training_s, final_audit=36, publish=8)
    return job_id


def _order_of(service: Service, report: Mapping[str, Any]) -> dict[str, Any]:
    """What of an order's body the report repeats."""
    audit = {name: value for name, value in report["audit"].items() if value is not None}
    labelled = service.dataset(DatasetKind.LABELLED, class_names=(*class_names(report), "no other"))
    order = {"audit": {**audit, "dataset_id": labelled}, "seed": report["seed"]}
    return order if report["kind"] == "audit" else order | {"recipe": report["recipe"]}


def class_names(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that the report names, its targets first."""
    audit = report["audit"]
    targets = [audit["target"], *(attack.get("target") for attack in audit["attacks"])]
    lost = [one["class_name"] for one in report.get("classes_lost") or ()]
    return tuple(dict.fromkeys(name for name in (*targets, *lost) if name))


def _read_by(service: Service, job_id: str, report: Mapping[str, Any]) -> None:
    """The job's inputs hold what the report says was read."""
    service.execute(
        "UPDATE checkpoints SET weights_sha256 = :weights, sha256 = coalesce(:upload, sha256)"
        " WHERE id = (SELECT checkpoint_id FROM jobs WHERE id = :id)",
        weights=report["before"]["weights_sha256"],
        upload=report["checkpoint"]["upload_sha256"],
        id=job_id,
    )
    columns = {"pairs": "dataset_id", "labelled": "labelled_dataset_id", "retrieval": "retrieval_dataset_id"}
    for one in report["data"]:
        facts = {name: one[name] for name in ("sha256", "num_samples", "num_skipped")}
        facts |= {"skipped_reasons": {}, "skipped_examples": []}
        service.execute(
            "UPDATE datasets SET summary = summary || cast(:facts AS jsonb)"
            f" WHERE id = (SELECT {columns[one['kind']]} FROM jobs WHERE id = :id)",
            facts=json.dumps(facts),
            id=job_id,
        )


def lasted(service: Service, job_id: str, **seconds: float) -> None:
    """The job's past is moved so that its phases took so long, one after the other until now; it had waited
    for 12 s."""
    with service.engine.begin() as connection:
        found = connection.execute(text("SELECT phases FROM jobs WHERE id = :id"), {"id": job_id})
        phases = [phase for phase in found.scalar_one() if phase["started_at"]]
    moments = [datetime.now(UTC)]
    for phase in reversed(phases):
        moments.insert(0, moments[0] - timedelta(seconds=seconds.get(phase["name"], 30.0)))
    for place, phase in enumerate(phases):
        phase["started_at"] = moments[place].isoformat()
        if phase["finished_at"]:
            phase["finished_at"] = moments[place + 1].isoformat()
        for event, moment in (("phase_started", moments[place]), ("phase_finished", moments[place + 1])):
            service.execute(
                "UPDATE job_events SET created_at = :moment"
                " WHERE job_id = :id AND type = :event AND data->>'phase' = :phase",
                moment=moment,
                id=job_id,
                event=event,
                phase=phase["name"],
            )
    begun, ordered_at = moments[0], moments[0] - timedelta(seconds=12)
    for event, moment in (("created", ordered_at), ("started", begun)):
        service.execute(
            "UPDATE job_events SET created_at = :moment WHERE job_id = :id AND type = :event",
            moment=moment,
            id=job_id,
            event=event,
        )
    service.execute(
        "UPDATE jobs SET created_at = :ordered, started_at = :begun,"
        " finished_at = CASE WHEN finished_at IS NULL THEN NULL ELSE cast(:now AS timestamptz) END,"
        " phases = (SELECT jsonb_agg(coalesce(new, old) ORDER BY place) FROM"
        " jsonb_array_elements(phases) WITH ORDINALITY AS of(old, place)"
        " LEFT JOIN jsonb_array_elements(cast(:phases AS jsonb)) AS new ON new->>'name' = old->>'name')"
        " WHERE id = :id",
        ordered=ordered_at,
        begun=begun,
        now=moments[-1],
        phases=json.dumps(phases),
        id=job_id,
    )


def forget_jobs(service: Service) -> None:
    """What other tests left."""
    service.execute("UPDATE jobs SET deleted_at = now(), state = 'cancelled'")


def pairs(service: Service) -> str:
    return service.dataset(DatasetKind.PAIRS)
