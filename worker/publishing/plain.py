"""The report of a kind that has no checks of its own, from what its child left: held to the order and the
inputs, as they were before it ran, and written by us. What is left to the child are its counts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.jobspec import REPORT_NAME, SearchSpec
from cleanclip.vocabulary.report_kinds import PlainReport, load_plain
from worker.publishing.checking import check_pairs, input_pairs, read_json
from worker.staging.known import Known


def check_plain(raw: bytes, spec: SearchSpec, known: Known, at: datetime) -> PlainReport:
    """report.json with everything that we know written by us. Raises AttemptFailed."""
    kind = KINDS[spec.kind].report
    assert kind is not None, "a kind without one has an entry in the table"
    report = read_json(REPORT_NAME, raw, partial(load_plain, kind))
    check_pairs(_pairs(report, spec, known))
    return replace(report, created_at=at, origin=known.origin)


def _pairs(report: PlainReport, spec: SearchSpec, known: Known) -> Iterator[tuple[str, object, object]]:
    """What the report says, and what we know of the same."""
    yield "kind", report.kind, spec.kind
    yield "seed", report.seed, spec.seed
    yield "options", report.options, getattr(spec, KINDS[spec.kind].option_part)
    yield "anchor", report.anchor, known.anchor
    yield from input_pairs(report, known)
    if (names := getattr(report, "class_names", None)) is not None:
        yield "class_names", names, known.class_names


def shown_plain(report: PlainReport) -> dict[str, Any]:
    """What the API shows."""
    return {"rows": [list(row) for row in report.rows]}
