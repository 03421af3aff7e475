"""What a statement repeats of a report: the word of the process that read the upload.

A report that was changed by hand says something else than the statement beside it, and the part is named.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cleanclip.evidence.findings import STATEMENT_NAME, Finding, misfit
from cleanclip.vocabulary.report_kinds import AnyReport, verdict_of

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """Later versions of the service may add fields; none may be missing."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class VerdictFacts(Part):
    outcome: str
    reason: str


class DataClaimed(Part):
    num_samples: int | None
    """By its validation."""


class Claimed(Part):
    canonical_of: Sha256
    """SHA-256 of the upload whose weights the canonical ones are, by its inspection."""
    verdict: VerdictFacts | None
    """None of a kind that judges no model."""
    data: list[DataClaimed]
    sections: dict[str, Sha256]
    """Of each part of report.json: SHA-256 of it as JSON with sorted keys."""


def sections(document: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each part of a report that was read as JSON."""
    return {
        name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
        for name, part in document.items()
    }


def compare(facts: Claimed, report: AnyReport, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Of every kind of report; `document` is the report as it was read."""
    stated, found = facts.sections, sections(document)
    yield from differing(
        ("checkpoint.upload_sha256", report.checkpoint.upload_sha256, facts.canonical_of),
        ("verdict", verdict_of(report), facts.verdict and facts.verdict.model_dump()),
        *((name, found.get(name), stated.get(name)) for name in sorted(found.keys() | stated.keys())),
    )
    for index, (one, fact) in enumerate(zip_longest(report.data, facts.data)):
        if fact is None or fact.num_samples is not None:
            reported = one and one.num_samples, fact and fact.num_samples
            yield from differing((f"data[{index}].num_samples", *reported))


def differing(*reported: tuple[str, object, object]) -> Iterator[Finding]:
    """Triples: a place of the report, what it says there, what the statement says."""
    for where, in_report, in_statement in reported:
        if in_report != in_statement:
            yield misfit(where, f"is not what {STATEMENT_NAME} says of the same thing")
