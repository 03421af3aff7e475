"""What a statement repeats of a report: the words of the process that read the upload, which nothing else can
be held against. A report that was changed by hand then says something else than the statement beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from cleanclip.evidence import drift, ranks, retrieval, scans, vettings
from cleanclip.evidence.findings import STATEMENT_NAME, Finding, misfit
from cleanclip.spec.report import Report
from cleanclip.spec.scan_report import ScanReport
from cleanclip.spec.vet_report import VetReport

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Later versions of the service may add fields; none may be missing."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class ScanVerdictFacts(Part):
    outcome: str
    reason: str


class VerdictFacts(ScanVerdictFacts):
    attacks: list[dict[str, Any]]
    clean_accuracy: dict[str, Any] | None
    rebound: list[dict[str, Any]]
    control: dict[str, Any] | None


class _AnyClaimed(Part):
    canonical_of: Sha256
    """SHA-256 of the upload whose weights the canonical ones are, by its inspection."""
    environment: dict[str, Any]
    checkpoint: dict[str, Any]
    data: list[dict[str, Any]]
    warnings: list[str]


class ScanClaimed(_AnyClaimed):
    """Of a scan."""

    verdict: ScanVerdictFacts
    scan: Sha256
    """Over all that was measured: see `measured_sha256`."""


class VetClaimed(_AnyClaimed):
    """Of a vetting, which has no verdict."""

    verdict: ClassVar[None] = None
    vet: Sha256
    """Over all that was measured."""


class Claimed(_AnyClaimed):
    """Of an audit or a cleaning."""

    verdict: VerdictFacts
    triggers: list[str]
    resumed_from_steps: list[int] | None
    target_top_k: list[int]
    classes_lost: list[str]
    classes: list[str]
    target_ranks: dict[str, list[list[int]]]
    drift: dict[str, list[float]] | None
    linear_probe: dict[str, list[int | bool] | None]
    retrieval: dict[str, Any] | None
    rebound: Sha256 | None
    control: Sha256 | None


def measured_sha256(kind: Literal["scan", "vet"], document: Mapping[str, Any]) -> str:
    """Over what only the process that measured can know, of a report as JSON; the statement has it too."""
    return _sha256({name: document.get(name) for name in _CLAIMED[kind]})


def section_sha256(section: Mapping[str, Any] | None) -> str | None:
    """Over a section as JSON; the statement has it too. None where there is none."""
    return None if section is None else _sha256(section)


def _sha256(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


_CLAIMED = {"scan": scans.CLAIMED, "vet": vettings.CLAIMED}


def compare_vetting(facts: VetClaimed, report: VetReport, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Of a vetting."""
    yield from _compare_inputs(facts, report, document)
    yield from differing(("scores", measured_sha256("vet", document), facts.vet))


def compare_scan(facts: ScanClaimed, report: ScanReport, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Of a scan."""
    yield from _compare_inputs(facts, report, document)
    yield from differing(
        ("verdict.outcome", report.verdict.outcome, facts.verdict.outcome),
        ("verdict.sentence", report.verdict.sentence, facts.verdict.reason),
        ("statistics", measured_sha256("scan", document), facts.scan),
    )


def compare_audits(facts: Claimed, report: Report, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Of an audit or a cleaning."""
    yield from _compare_inputs(facts, report, document)
    yield from differing(
        ("verdict.outcome", report.verdict.outcome, facts.verdict.outcome),
        ("verdict.reason", report.verdict.reason, facts.verdict.reason),
    )
    for name in ("attacks", "clean_accuracy"):
        yield from differing((f"verdict.{name}", document["verdict"].get(name), getattr(facts.verdict, name)))
    yield from differing(
        ("verdict.rebound", document["verdict"].get("rebound", []), facts.verdict.rebound),
        ("verdict.control", document["verdict"].get("control"), facts.verdict.control),
        ("rebound", section_sha256(document.get("rebound")), facts.rebound),
        ("control", section_sha256(document.get("control")), facts.control),
    )
    training = document.get("training") or {}
    yield from differing(
        ("before.attacks", [one.trigger_sha256 for one in report.before.attacks], facts.triggers),
        ("training.resumed_from_steps", training.get("resumed_from_steps"), facts.resumed_from_steps),
    )
    for side, audit in (("before", report.before), ("after", report.after)):
        found = [] if audit is None else ranks.of_audit(side, audit)
        told_ranks = [ranks.in_order(rank) for _, rank, _, _ in found]
        fitted = audit.linear_probe if audit else None
        told_fit = None if fitted is None else [fitted.num_iterations, fitted.is_converged]
        yield from differing(
            (f"{side}.untriggered_target_rank", told_ranks, facts.target_ranks.get(side)),
            (f"{side}.linear_probe", told_fit, facts.linear_probe.get(side)),
        )
    ks = [one.k for one in report.before.untriggered_target_top_k]
    yield from differing(
        ("before.untriggered_target_top_k", ks, facts.target_top_k),
        ("drift", report.drift and drift.in_order(report.drift), facts.drift),
        ("before.retrieval", retrieval.set_counts(report.before.retrieval), facts.retrieval),
        ("classes_lost", [one.class_name for one in report.classes_lost], facts.classes_lost),
        ("before.ca_per_class", [one.class_name for one in report.before.ca_per_class], facts.classes),
    )


def _compare_inputs(
    facts: _AnyClaimed, report: Report | ScanReport | VetReport, document: Mapping[str, Any]
) -> Iterator[Finding]:
    """Of every kind of report: what came in, and what was found wrong on the way."""
    yield from differing(
        ("environment", document.get("environment"), facts.environment),
        ("checkpoint.upload_sha256", report.checkpoint.upload_sha256, facts.canonical_of),
        ("warnings", list(report.warnings), facts.warnings),
    )
    checkpoint = document["checkpoint"]
    for name in ("layout", "architecture", "num_parameters", "declared", "findings", "scanners"):
        yield from differing((f"checkpoint.{name}", checkpoint.get(name), facts.checkpoint.get(name)))
    nothing: Mapping[str, Any] = {}
    for index, (told, fact) in enumerate(zip_longest(document["data"], facts.data, fillvalue=nothing)):
        if fact.get("num_samples") is not None:
            yield from differing((f"data[{index}].num_samples", told.get("num_samples"), fact["num_samples"]))
        for name in ("num_skipped", "num_classes"):
            yield from differing((f"data[{index}].{name}", told.get(name), fact.get(name)))


def differing(*told: tuple[str, object, object]) -> Iterator[Finding]:
    """Triples: a place of the report, what it says there, what the statement says."""
    for where, in_report, in_statement in told:
        if in_report != in_statement:
            yield misfit(where, f"is not what {STATEMENT_NAME} says of the same thing")
