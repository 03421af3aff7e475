"""statement.json: what was done to what, as an in-toto Statement v1. Knows no key and no store.

    subject          every file that the job's process left, by SHA-256
    predicate        `observed` and `claimed`

`observed` is what the control plane (SLSA's word; here the supervisor) saw or computed itself: what came in
and what was published, file by file, the order, when, by which attempt at which job, whether a second audit
confirmed the figures, the key that signs. Times are the database's. `claimed` is what the process that read
the upload or the data said (SLSA: the build environment), out of report.json, so that no figure there stands
alone; the verdict follows from its figures. Of which upload the canonical weights are its inspection said,
and how many samples a dataset has its validation. SLSA's terms: docs/how-to/operating/signing.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from platform import python_version
from typing import Any, Literal

from app.db.repositories.attempt_values import ClaimedJob
from cleanclip.evidence.claims import measured_sha256, section_sha256
from cleanclip.spec.jobspec import (
    ANCHOR_PATH,
    CHECKPOINT_PATH,
    PATH_OF_ROLE,
    REPORT_NAME,
    SPEC_ADAPTER,
    WEIGHTS_NAME,
    ScanSpec,
    exclude_path,
)
from cleanclip.spec.recipe import parse, to_json
from cleanclip.spec.report import AuditFigures, Report, RetrievalFigures
from cleanclip.spec.report_kinds import AnyReport
from cleanclip.spec.scan_options import ScanOptions
from cleanclip.spec.scan_report import dump_scan
from cleanclip.spec.vet_report import VetReport, dump_vet_report
from worker.staging.stage import Received, Staged

STATEMENT_NAME = "statement.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:cleanclip:statement:job:v1"
"""A name, not an address: nothing is served there."""

_ORDERED = (
    "seed",
    "scan_section",
    "recipe",
    "recipe_given",
    "audit",
    "policy",
    "policy_source",
    "output_layout",
    "scan",
    "vet",
)
_OF_CHECKPOINT = ("layout", "architecture", "num_parameters", "findings")
_LIBRARIES = ("cryptography", "model-signing", "pydantic")
Why = Literal["ordered", "by_default", "not_ordered", "not_signed"]


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """Whether a process that never read the upload measured again what the report says: an audit, a scan or a
    vetting.

    A count may differ in `tolerated_share` of its images. `num_withheld`: of how many further images, which
    the first process never had, it is. The training's curve is the first process's word.
    """

    done: bool
    why: Why
    num_withheld: int = 0
    tolerated_share: float | None = None


def statement_json(
    job: ClaimedJob,
    staged: Staged,
    report: AnyReport,
    sha256: Mapping[str, str],
    size_bytes: Mapping[str, int],
    *,
    recheck: Recheck,
    ended_at: str,
    signing_key_sha256: str | None,
) -> bytes:
    """`sha256` and `size_bytes` are of all files that the job's process left. ASCII, in a fixed order."""
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(name, sha256[name], size_bytes[name]) for name in sorted(sha256)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "observed": {
                "job": {
                    "id": job.id,
                    "kind": job.kind.value,
                    "attempt": job.attempt,
                    "started_at": job.started_at.astimezone(UTC).isoformat() if job.started_at else None,
                    "ended_at": ended_at,
                },
                "checkpoint": dict(staged.checkpoint),
                "canonical": _files(staged.received, CHECKPOINT_PATH),
                "data": [_data(one, staged.received) for one in staged.datasets],
                "order": _order(staged, job),
                "made_with": {
                    "service": _version("cleanclip-service"),
                    "python": python_version(),
                    "libraries": {name: _version(name) for name in _LIBRARIES},
                },
                "report": {"name": REPORT_NAME, "digest": {"sha256": sha256[REPORT_NAME]}},
                "recheck": asdict(recheck),
                "signing_key_sha256": signing_key_sha256,
            },
            "claimed": _claimed(report, staged),
        },
    }
    return json.dumps(document, indent=1, allow_nan=False).encode("ascii") + b"\n"


def _claimed(report: AnyReport, staged: Staged) -> dict[str, Any]:
    """Of the report what nothing else of the statement and no arithmetic can be held against."""
    claimed = {
        "canonical_of": staged.checkpoint["upload"]["digest"]["sha256"],
        "environment": asdict(report.environment),
        "checkpoint": {name: getattr(report.checkpoint, name) for name in _OF_CHECKPOINT}
        | {
            "declared": asdict(report.checkpoint.declared),
            "scanners": [asdict(one) for one in report.checkpoint.scanners],
        },
        "data": [
            {
                "num_samples": dataset["num_samples"],
                "num_skipped": one.num_skipped,
                "num_classes": one.num_classes,
            }
            for one, dataset in zip(report.data, staged.datasets, strict=True)
        ],
        "warnings": list(report.warnings),
    }
    if isinstance(report, Report):
        return claimed | _audits(report)
    if isinstance(report, VetReport):
        return claimed | {"vet": measured_sha256("vet", json.loads(dump_vet_report(report)))}
    return claimed | {
        "verdict": {"outcome": report.verdict.outcome, "reason": report.verdict.sentence},
        "scan": measured_sha256("scan", json.loads(dump_scan(report))),
    }


def _audits(report: Report) -> dict[str, Any]:
    """Of an audit or a cleaning."""
    return {
        "verdict": {
            "outcome": report.verdict.outcome,
            "reason": report.verdict.reason,
            "attacks": [asdict(one) for one in report.verdict.attacks],
            "clean_accuracy": asdict(report.verdict.clean_accuracy)
            if report.verdict.clean_accuracy
            else None,
            "rebound": [asdict(one) for one in report.verdict.rebound],
            "control": asdict(report.verdict.control) if report.verdict.control else None,
        },
        "triggers": [one.trigger_sha256 for one in report.before.attacks],
        "target_top_k": [one.k for one in report.before.untriggered_target_top_k],
        "target_ranks": {"before": _ranks(report.before), "after": _ranks(report.after)},
        "drift": _drift(report),
        "linear_probe": {"before": _fit(report.before), "after": _fit(report.after)},
        "retrieval": _retrieval(report.before.retrieval),
        "rebound": section_sha256(None if report.rebound is None else asdict(report.rebound)),
        "control": section_sha256(None if report.control is None else to_json(report.control)),
        "classes": [one.class_name for one in report.before.ca_per_class],
        "classes_lost": [one.class_name for one in report.classes_lost],
        "resumed_from_steps": list(report.training.resumed_from_steps) if report.training else None,
    }


def _ranks(audit: AuditFigures | None) -> list[list[int]]:
    """Places that no share fixes: of targets without a trigger, the audit's own first, then of attacks."""
    if audit is None:
        return []
    told = [audit.untriggered_target_rank]
    told += [further.untriggered_target_rank for further in audit.further_targets]
    told += [attack.target_rank for attack in audit.attacks]
    return [[one.low, one.first_quartile, one.median, one.third_quartile, one.high] for one in told]


def _fit(audit: AuditFigures | None) -> list[int | bool] | None:
    """How the linear probe was fitted, where there is one."""
    if audit is None or audit.linear_probe is None:
        return None
    return [audit.linear_probe.num_iterations, audit.linear_probe.is_converged]


def _drift(report: Report) -> dict[str, list[float]] | None:
    """What the intervals of the drift follow from."""
    if report.drift is None:
        return None
    sides = {"images": report.drift.images, "classes": report.drift.classes}
    return {name: [told.mean, told.std] for name, told in sides.items()}


def _retrieval(figures: RetrievalFigures | None) -> dict[str, Any] | None:
    """The counts that decide the others'."""
    if figures is None:
        return None
    return {
        "num_images": figures.num_images,
        "num_captions": figures.num_captions,
        "targets": [
            {"target": one.target, "num_naming": one.num_naming, "num_images": one.num_images}
            for one in figures.targets
        ],
    }


def _subject(name: str, sha256: str, size_bytes: int) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}, "annotations": {"size_bytes": size_bytes}}


def _data(dataset: Mapping[str, Any], received: Sequence[Received]) -> dict[str, Any]:
    facts = {name: value for name, value in dataset.items() if name not in {"num_samples", "num_skipped"}}
    return facts | {"files": _files(received, PATH_OF_ROLE[dataset["role"]])}


def _files(received: Sequence[Received], folder: str) -> list[dict[str, Any]]:
    return [
        {
            "name": PurePosixPath(one.path).name,
            "size_bytes": one.size_bytes,
            "digest": {"sha256": one.sha256},
        }
        for one in received
        if PurePosixPath(one.path).parent == PurePosixPath(folder)
    ]


def _order(staged: Staged, job: ClaimedJob) -> dict[str, Any]:
    spec = SPEC_ADAPTER.dump_python(staged.spec, mode="json")
    order = {name: spec[name] for name in _ORDERED if name in spec}
    if isinstance(staged.spec, ScanSpec):
        null = None if staged.known is None else staged.known.null
        order["null"] = None if null is None else {"name": null.name, "sha256": null.sha256}
    elif job.spec.get("scan") is not None:  # a cleaning that scanned first
        chosen = job.spec.get("null")
        order["scan"] = to_json(parse(ScanOptions, job.spec["scan"]))
        order["null"] = chosen and {name: chosen[name] for name in ("name", "sha256")}
    sha256 = {one.path: one.sha256 for one in staged.received}
    lists = {role: sha256[exclude_path(role)] for role in PATH_OF_ROLE if exclude_path(role) in sha256}
    if lists:
        order["exclude"] = lists
    if (weights := sha256.get(f"{ANCHOR_PATH}/{WEIGHTS_NAME}")) is not None:
        order["anchor_weights_sha256"] = weights
    return order


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
