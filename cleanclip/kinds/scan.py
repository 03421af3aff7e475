"""Look for a trigger that nobody named, and change nothing."""

from __future__ import annotations

from cleanclip.kinds.kind import MAX_REPORT_BYTES, SUSPECT, Kind, anchor, labelled
from cleanclip.spec.jobspec import MAX_SCAN_STATE_BYTES, REPORT_NAME, ScanSpec

SCAN = Kind(
    name="scan",
    title="Scan",
    computes=("scan",),
    is_resumable=True,
    inputs=(SUSPECT, labelled("scan"), anchor("scan")),
    spec=ScanSpec,
    leaves={REPORT_NAME: MAX_REPORT_BYTES},
    max_state_bytes=MAX_SCAN_STATE_BYTES,
)
