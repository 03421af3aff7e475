"""statement.json: an in-toto Statement v1 about one job. Read strictly, held against files and report."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from cleanclip.evidence import claims
from cleanclip.evidence.claims import Claimed, Part, Sha256
from cleanclip.evidence.findings import (
    PUBLIC_KEY_NAME,
    REPORT_NAME,
    SIGNATURE_NAME,
    STATEMENT_NAME,
    SUMS_NAME,
    WEIGHTS_NAME,
    Finding,
    other_file,
)
from cleanclip.evidence.reading import Malformed, first_problem, parse_json
from cleanclip.kinds.catalogue import KINDS, PUBLIC
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.report_inputs import DataRole, FetchedSource
from cleanclip.vocabulary.report_kinds import AnyReport, PlainReport
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.strict_json import MOST_PARTS_OF_MANY
from cleanclip.vocabulary.vet_report import VetReport

_TEXTS = ("classnames.txt", "zeroshot_classification_templates.txt")
_ABOUT_OTHERS = frozenset({STATEMENT_NAME, SUMS_NAME, SIGNATURE_NAME, PUBLIC_KEY_NAME})


def dataset_sha256(role: str, files: Mapping[str, str]) -> str:
    """Of the set of these files (name → SHA-256), used as `role`: over names and digests, texts first."""
    texts = () if role in {"pairs", "retrieval"} else _TEXTS
    total = hashlib.sha256()
    for name in (*(text for text in texts if text in files), *sorted(files.keys() - {*_TEXTS})):
        total.update(name.encode() + b"\0" + files[name].encode() + b"\n")
    return total.hexdigest()


class Digest(Part):
    sha256: Sha256


class Resource(Part):
    name: str
    digest: Digest


class SubjectNotes(Part):
    size_bytes: int


class Subject(Resource):
    annotations: SubjectNotes

    @property
    def size_bytes(self) -> int:
        return self.annotations.size_bytes


class SizedResource(Resource):
    size_bytes: int


class Upload(Part):
    size_bytes: int
    digest: Digest


def _public(kind: str) -> str:
    if kind not in PUBLIC:
        raise ValueError("is no kind of job whose files are signed")
    return kind


class JobFacts(Part):
    id: str
    kind: Annotated[str, AfterValidator(_public)]
    attempt: int
    started_at: str | None
    ended_at: str


class SourceFacts(Part):
    """Where the checkpoint was fetched from: see `report_inputs.FetchedSource`."""

    ordered: str
    commit: str | None
    path: str | None
    size_bytes: int
    sha256: Sha256
    fetched_at: str


class CheckpointFacts(Part):
    id: str
    filename: str
    source: SourceFacts | None
    """None: it was uploaded."""
    upload: Upload
    converted_again: bool
    """Whether a second process, with the service's own reader alone, made the same of the upload."""


class DataFacts(Part):
    role: DataRole
    id: str
    reference: str | None
    files: list[SizedResource]

    @property
    def sha256(self) -> str:
        """The set's digest, as the report has it."""
        return dataset_sha256(self.role, {one.name: one.digest.sha256 for one in self.files})


class RecheckFacts(Part):
    """Whether a second audit, by a process that never read the upload, confirmed the report's figures.

    `num_withheld`: of how many labelled images that the job's process never had.
    """

    done: bool
    why: str
    num_withheld: int
    tolerated_share: Annotated[float, Field(ge=0, le=1)] | None


class Observed(Part):
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


class Predicate(Part):
    observed: Observed
    claimed: Claimed


class Statement(Part):
    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    predicateType: Literal["urn:cleanclip:statement:job:v1"]
    subject: list[Subject]
    predicate: Predicate


def parse(content: bytes) -> Statement:
    """Raises Malformed."""
    try:
        return Statement.model_validate(parse_json(content, MOST_PARTS_OF_MANY))
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


def compare_report(statement: Statement, report: AnyReport, document: Mapping[str, Any]) -> Iterator[Finding]:
    """What the statement and the report both say, beside what was ordered. `document` is the report as it was
    read."""
    facts = statement.predicate.observed
    if report.origin is not None:
        yield from claims.differing(
            ("origin.job_id", report.origin.job_id, facts.job.id),
            ("origin.filename", report.origin.filename, facts.checkpoint.filename),
            ("origin.source", _source(report.origin.source), _source(facts.checkpoint.source)),
        )
    yield from _compare_source(facts.checkpoint)
    yield from claims.differing(
        ("kind", report.kind, facts.job.kind),
        ("seed", report.seed, facts.order.get("seed")),
        ("checkpoint.upload_sha256", report.checkpoint.upload_sha256, facts.checkpoint.upload.digest.sha256),
        ("checkpoint.weights_sha256", report.checkpoint.weights_sha256, _weights(facts.canonical)),
        ("data", [one.kind for one in report.data], [one.role for one in facts.data]),
    )
    lists = facts.order.get("exclude") or {}
    for index, (reported, fact) in enumerate(zip(report.data, facts.data, strict=False)):
        left_out = None if reported.excluded is None else reported.excluded.list_sha256
        yield from claims.differing(
            (f"data[{index}].sha256", reported.sha256, fact.sha256),
            (f"data[{index}].excluded", left_out, lists.get(fact.role)),
        )
    yield from claims.compare(statement.predicate.claimed, report, document)


def _source(reported: FetchedSource | SourceFacts | None) -> dict[str, Any] | None:
    return None if reported is None else dict(vars(reported))


def _compare_source(checkpoint: CheckpointFacts) -> Iterator[Finding]:
    """What was fetched is what was read."""
    source, upload = checkpoint.source, checkpoint.upload
    if source and (source.sha256, source.size_bytes) != (upload.digest.sha256, upload.size_bytes):
        yield _finding("predicate.observed.checkpoint.source", "has another size or digest than the upload")


def compare_options(
    report: VetReport | PlainReport, facts: Observed, document: Mapping[str, Any]
) -> Iterator[Finding]:
    """Of a kind whose order is its options and what it reads, what was ordered."""
    yield from claims.differing(
        ("options", document.get("options"), facts.order.get(KINDS[report.kind].option_part)),
        _anchor(report, facts),
    )


def compare_scan_order(report: ScanReport, facts: Observed) -> Iterator[Finding]:
    """Of a scan, also of one that a cleaning began with, what was ordered."""
    null = None if report.null is None else {"name": report.null.name, "sha256": report.null.sha256}
    yield from claims.differing(
        ("seed", report.seed, facts.order.get("seed")),
        ("options", to_json(report.options), facts.order.get("scan")),
        ("null", null, facts.order.get("null")),
        _anchor(report, facts),
    )


def compare_audit_order(report: Report, facts: Observed, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Of an audit or a cleaning."""
    num_withheld = 0 if report.withheld is None else report.withheld.num_samples
    if facts.recheck.num_withheld != num_withheld:
        yield _finding("predicate.observed.recheck.num_withheld", f"is not the report's, {num_withheld}")
    yield from claims.differing(
        ("recipe", document.get("recipe"), facts.order.get("recipe")),
        ("recipe_source.given", _given(document), facts.order.get("recipe_given")),
        ("audit", document.get("audit"), facts.order.get("audit")),
        ("scan", document.get("scan"), facts.order.get("scan_section")),
        ("policy", document.get("policy"), facts.order.get("policy")),
        ("policy_source", document.get("policy_source"), facts.order.get("policy_source")),
    )


def _anchor(report: ScanReport | VetReport | PlainReport, facts: Observed) -> tuple[str, object, object]:
    """The digest of an anchor, as the report has it and as it came in."""
    anchor = getattr(report, "anchor", None)  # not every kind has one
    weights = None if anchor is None else anchor.weights_sha256
    return "anchor.weights_sha256", weights, facts.order.get("anchor_weights_sha256")


def _given(document: Mapping[str, Any]) -> Any:
    """The recipe's options that the report says the order gave. None where it does not tell."""
    source = document.get("recipe_source")
    return source.get("given") if isinstance(source, dict) else None


def _weights(canonical: list[SizedResource]) -> str | None:
    return next((one.digest.sha256 for one in canonical if one.name == WEIGHTS_NAME), None)


def _finding(where: str, message: str) -> Finding:
    return Finding(file=STATEMENT_NAME, where=where, message=message)
