"""The report of a vetting from what its child left: checked, and written by us.

The child read untrusted weights, so its report is checked against the order and the inputs as they were
before it ran. Captions, keys and images are the customer's own, from her dataset: bounded, and escaped
wherever they are shown. The list and the scores beside the report are held to it before the folder is signed
(`cleanclip.evidence.vetted_files`). Whether the list's keys are those of the dataset is checked where the
list is used: the process that leaves samples out compares each.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from cleanclip.evidence import vettings
from cleanclip.vocabulary.jobspec import REPORT_NAME, VetSpec
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.vet_report import VetReport, load_vet_report
from worker.failures import outputs_rejected
from worker.publishing.checking import check_findings, check_pairs, input_pairs, read_json
from worker.staging.known import Known


def check_vet(raw: bytes, spec: VetSpec, known: Known, at: datetime) -> VetReport:
    """report.json with everything that we know written by us. Raises AttemptFailed."""
    report = read_json(REPORT_NAME, raw, load_vet_report)
    check_pairs(_pairs(report, spec, known))
    check_findings(vettings.check(report))
    classes = known.class_names if spec.data_kind == "labelled" else None
    if classes is not None and not {one.caption for one in report.worst} <= {*classes}:
        raise outputs_rejected("its samples are of a class that the dataset does not have")
    return replace(report, created_at=at, origin=known.origin)


def _pairs(report: VetReport, spec: VetSpec, known: Known) -> Iterator[tuple[str, object, object]]:
    """What the report says, and what we know of the same."""
    yield "seed", report.seed, spec.seed
    yield "options", report.options, spec.vet
    yield from input_pairs(report, known)
    yield "anchor", report.anchor, known.anchor
    yield "data", report.vetted.kind, spec.data_kind
    yield "trusted", report.trusted is not None, spec.has_trusted
    num_classes = len(known.class_names) if spec.data_kind == "labelled" and known.class_names else None
    yield "data[0].num_classes", report.vetted.num_classes, num_classes


def shown_vet(report: VetReport) -> dict[str, Any]:
    """What the API shows: no sample."""
    scores = [
        {"name": one.name, "num_decisive": one.num_decisive, "median": one.vetted.median}
        | {"q99": one.vetted.q99, "high": one.vetted.high}
        for one in report.scores
    ]
    return {
        "set_aside": {"num": report.set_aside.num, "of": report.set_aside.of},
        "basis": report.basis,
        "reason": report.reason,
        "scores": scores,
        "decided_by": report.decided_by,
        "not_computed": [to_json(one) for one in report.not_computed],
        "levels": [to_json(one) for one in report.levels],
        "measured": [to_json(one) for one in report.measured],
        "num_calibration": report.num_calibration,
        "what_it_says": report.what_it_says,
    }
