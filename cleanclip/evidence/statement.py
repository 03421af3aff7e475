"""statement.json: an in-toto Statement v1 about one job. Read strictly, held against files and report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanclip.evidence import auto, drift, ranks, rebound, retrieval
from cleanclip.evidence.findings import (
    PUBLIC_KEY_NAME,
    REPORT_NAME,
    SIGNATURE_NAME,
    STATEMENT_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
    Finding,
    misfit,
    other_file,
)
from cleanclip.evidence.reading import Malformed, first_problem, parse_json
from cleanclip.spec.report import Report

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_TEXTS = ("classnames.txt", "zeroshot_classification_templates.txt")
_ABOUT_OTHERS = frozenset({STATEMENT_NAME, SUMS_NAME, SIGNATURE_NAME, PUBLIC_KEY_NAME})


def dataset_sha256(role: str, files: Mapping[str, str]) -> str:
    """Of the set of these files (name → SHA-256), used as `role`: over names and digests, texts first."""
    texts = () if role in {"pairs", "retrieval"} else _TEXTS
    total = hashlib.sha256()
    for name in (*(text for text in texts if text in files), *sorted(files.keys() - {*_TEXTS})):
        total.update(name.encode() + b"\0" + files[name].encode() + b"\n")
    return total.hexdigest()


class _Part(BaseModel):
    """Later versions of the service may add fields; none may be missing."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Digest(_Part):
    sha256: Sha256


class Resource(_Part):
    name: str
    digest: Digest


class SubjectNotes(_Part):
    size_bytes: int


class Subject(Resource):
    annotations: SubjectNotes

    @property
    def size_bytes(self) -> int:
        return self.annotations.size_bytes


class SizedResource(Resource):
    size_bytes: int


class Upload(_Part):
    size_bytes: int
    digest: Digest


class JobFacts(_Part):
    id: str
    kind: Literal["sanitize", "audit"]
    attempt: int
    started_at: str | None
    ended_at: str


class CheckpointFacts(_Part):
    id: str
    filename: str
    upload: Upload
    converted_again: bool
    """Whether a second process, with the service's own reader alone, made the same of the upload."""


class DataFacts(_Part):
    role: Literal["pairs", "training", "labelled", "retrieval"]
    id: str
    reference: str | None
    files: list[SizedResource]

    @property
    def sha256(self) -> str:
        """The set's digest, as the report has it."""
        return dataset_sha256(self.role, {one.name: one.digest.sha256 for one in self.files})


class RecheckFacts(_Part):
    """Whether a second audit, by a process that never read the upload, confirmed figures of the report."""

    done: bool
    why: str
    figures: Literal["before", "after"] | None
    tolerated_share: Annotated[float, Field(ge=0, le=1)] | None


class Observed(_Part):
    """What the control plane saw or computed itself."""

    job: JobFacts
    checkpoint: CheckpointFacts
    canonical: list[SizedResource]
    """The weights that were read, and their config.json. Whose they are is claimed."""
    data: list[DataFacts]
    order: dict[str, Any]
    made_with: dict[str, Any]
    report: Resource
    recheck: RecheckFacts
    signing_key_sha256: Sha256 | None


class VerdictFacts(_Part):
    outcome: str
    reason: str
    attacks: list[dict[str, Any]]
    clean_accuracy: dict[str, Any] | None
    rebound: list[dict[str, Any]]


class Claimed(_Part):
    """What the process that read the upload said, which nothing else can be held against."""

    canonical_of: Sha256
    """SHA-256 of the upload whose weights the canonical ones are, by its inspection."""
    environment: dict[str, Any]
    verdict: VerdictFacts
    checkpoint: dict[str, Any]
    data: list[dict[str, Any]]
    triggers: list[str]
    resumed_from_steps: list[int] | None
    warnings: list[str]
    target_top_k: list[int]
    classes_lost: list[str]
    classes: list[str]
    target_ranks: dict[str, list[list[int]]]
    drift: dict[str, list[float]] | None
    linear_probe: dict[str, list[int | bool] | None]
    retrieval: dict[str, Any] | None
    rebound: Sha256 | None
    auto: Sha256 | None


class Predicate(_Part):
    observed: Observed
    claimed: Claimed


class Statement(_Part):
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    predicateType: Literal["urn:cleanclip:statement:job:v1"]
    subject: list[Subject]
    predicate: Predicate


def parse(content: bytes) -> Statement:
    """Raises Malformed."""
    try:
        return Statement.model_validate(parse_json(content))
    except ValidationError as error:
        where, what = first_problem(error)
        raise Malformed(f"is not a statement about a job ({where}: {what})") from error


def compare_files(statement: Statement, actual: Mapping[str, str]) -> Iterator[Finding]:
    """The statement's subjects against the digests of the files that are there."""
    stated: dict[str, str] = {}
    for one in statement.subject:
        if one.name in stated:
            yield _finding("subject", f"names {one.name[:100]!r} twice")
        stated[one.name] = one.digest.sha256
    expected = set(actual) - _ABOUT_OTHERS
    for name in sorted(expected ^ set(stated)):
        how = "is there, but the statement does not name it" if name in expected else "is not there"
        yield Finding(file=name, message=how)
    for name in sorted(expected & set(stated)):
        if stated[name] != actual[name]:
            yield other_file(name, actual[name], "the statement names")
    report = statement.predicate.observed.report
    if report.name != REPORT_NAME or report.digest.sha256 != stated.get(REPORT_NAME):
        yield _finding(
            "predicate.observed.report", "is not the digest that the subject gives for report.json"
        )


def _given(document: Mapping[str, Any]) -> Any:
    """The recipe's options that the report says the order gave. None where it does not tell."""
    source = document.get("recipe_source")
    return source.get("given") if isinstance(source, dict) else None


def compare_report(statement: Statement, report: Report, document: Mapping[str, Any]) -> Iterator[Finding]:
    """What the statement and the report both say. `document` is the report as it was read."""
    facts, claimed = statement.predicate.observed, statement.predicate.claimed
    if facts.recheck.done and facts.recheck.figures != ("before" if report.after is None else "after"):
        yield _finding(
            "predicate.observed.recheck", "names other figures than those of the published weights"
        )
    if report.origin is not None:
        yield from _differing(
            ("origin.job_id", report.origin.job_id, facts.job.id),
            ("origin.filename", report.origin.filename, facts.checkpoint.filename),
        )
    yield from _differing(
        ("kind", report.kind, facts.job.kind),
        ("seed", report.seed, facts.order.get("seed")),
        ("recipe", document.get("recipe"), facts.order.get("recipe")),
        ("recipe_source.given", _given(document), facts.order.get("recipe_given")),
        ("audit", document.get("audit"), facts.order.get("audit")),
        ("policy", document.get("policy"), facts.order.get("policy")),
        ("policy_source", document.get("policy_source"), facts.order.get("policy_source")),
        ("environment", document.get("environment"), claimed.environment),
        ("checkpoint.upload_sha256", report.checkpoint.upload_sha256, facts.checkpoint.upload.digest.sha256),
        ("checkpoint.upload_sha256", report.checkpoint.upload_sha256, claimed.canonical_of),
        ("checkpoint.weights_sha256", report.checkpoint.weights_sha256, _weights(facts.canonical)),
        ("verdict.outcome", report.verdict.outcome, claimed.verdict.outcome),
        ("verdict.reason", report.verdict.reason, claimed.verdict.reason),
        ("data", [one.kind for one in report.data], [one.role for one in facts.data]),
    )
    for index, (told, fact) in enumerate(zip(report.data, facts.data, strict=False)):
        yield from _differing((f"data[{index}].sha256", told.sha256, fact.sha256))
    yield from _compare_claimed(claimed, report, document)


def _compare_claimed(facts: Claimed, report: Report, document: Mapping[str, Any]) -> Iterator[Finding]:
    checkpoint = document["checkpoint"]
    for name in ("layout", "architecture", "declared", "findings", "scanners"):
        yield from _differing((f"checkpoint.{name}", checkpoint.get(name), facts.checkpoint.get(name)))
    nothing: Mapping[str, Any] = {}
    for index, (told, fact) in enumerate(zip_longest(document["data"], facts.data, fillvalue=nothing)):
        if fact.get("num_samples") is not None:
            yield from _differing(
                (f"data[{index}].num_samples", told.get("num_samples"), fact["num_samples"])
            )
        for name in ("num_skipped", "num_classes"):
            yield from _differing((f"data[{index}].{name}", told.get(name), fact.get(name)))
    for name in ("attacks", "clean_accuracy"):
        yield from _differing(
            (f"verdict.{name}", document["verdict"].get(name), getattr(facts.verdict, name))
        )
    yield from _differing(
        ("verdict.rebound", document["verdict"].get("rebound", []), facts.verdict.rebound),
        ("rebound", rebound.sha256(document.get("rebound")), facts.rebound),
        ("auto", auto.sha256(document.get("auto")), facts.auto),
    )
    training = document.get("training") or {}
    yield from _differing(
        ("before.attacks", [one.trigger_sha256 for one in report.before.attacks], facts.triggers),
        ("training.resumed_from_steps", training.get("resumed_from_steps"), facts.resumed_from_steps),
        ("warnings", list(report.warnings), facts.warnings),
    )
    for side, audit in (("before", report.before), ("after", report.after)):
        found = [] if audit is None else ranks.of_audit(side, audit)
        told_ranks = [ranks.in_order(rank) for _, rank, _, _ in found]
        fitted = audit.linear_probe if audit else None
        told_fit = None if fitted is None else [fitted.num_iterations, fitted.is_converged]
        yield from _differing(
            (f"{side}.untriggered_target_rank", told_ranks, facts.target_ranks.get(side)),
            (f"{side}.linear_probe", told_fit, facts.linear_probe.get(side)),
        )
    ks = [one.k for one in report.before.untriggered_target_top_k]
    yield from _differing(
        ("before.untriggered_target_top_k", ks, facts.target_top_k),
        ("drift", report.drift and drift.in_order(report.drift), facts.drift),
        ("before.retrieval", retrieval.set_counts(report.before.retrieval), facts.retrieval),
        ("classes_lost", [one.class_name for one in report.classes_lost], facts.classes_lost),
        ("before.ca_per_class", [one.class_name for one in report.before.ca_per_class], facts.classes),
    )


def _weights(canonical: list[SizedResource]) -> str | None:
    return next((one.digest.sha256 for one in canonical if one.name == WEIGHTS_NAME), None)


def _differing(*told: tuple[str, object, object]) -> Iterator[Finding]:
    for where, in_report, in_statement in told:
        if in_report != in_statement:
            yield misfit(where, f"is not what {STATEMENT_NAME} says of the same thing")


def _finding(where: str, message: str) -> Finding:
    return Finding(file=STATEMENT_NAME, where=where, message=message)
