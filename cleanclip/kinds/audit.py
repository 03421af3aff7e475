"""Measure a checkpoint and change nothing."""

from __future__ import annotations

from cleanclip.kinds.kind import MAX_REPORT_BYTES, RETRIEVAL, SUSPECT, Kind, labelled
from cleanclip.spec.jobspec import REPORT_NAME, AuditSpec
from cleanclip.spec.recipe import AuditOptions

AUDIT = Kind(
    name="audit",
    title="Audit",
    computes=("baseline_audit",),
    inputs=(SUSPECT, labelled("audit"), RETRIEVAL),
    options=AuditOptions,
    spec=AuditSpec,
    leaves={REPORT_NAME: MAX_REPORT_BYTES},
)
