"""The files beside the report of an audit or a cleaning, held to it: weights, configuration, curve, scan."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from cleanclip.evidence import scan_section, scans, statement, training
from cleanclip.evidence.findings import (
    CONFIG_NAME,
    CURVE_NAME,
    NOT_READ,
    REPORT_NAME,
    SCAN_NAME,
    WEIGHTS_NAME,
    Finding,
    misfit,
)
from cleanclip.evidence.folder import CheckedFolder
from cleanclip.evidence.reading import parse_json
from cleanclip.vocabulary.report import Report


def check_files(report: Report, folder: CheckedFolder, document: Mapping[str, Any]) -> Iterator[Finding]:
    """The files that the report speaks of."""
    if report.is_cleaning and report.after is not None:
        if WEIGHTS_NAME not in folder.sizes:
            yield Finding(file=WEIGHTS_NAME, message="is missing")
        elif folder.sha256[WEIGHTS_NAME] == NOT_READ:
            why = "no list names it with the size that it has"
            yield misfit("after.weights_sha256", f"cannot be compared with {WEIGHTS_NAME}: {why}")
        elif folder.sha256[WEIGHTS_NAME] != report.after.weights_sha256:
            yield misfit("after.weights_sha256", f"is not that of {WEIGHTS_NAME}")
    config = folder.read(CONFIG_NAME, parse_json)
    if isinstance(config, dict):
        architecture = {name: config.get(name) for name in ("model_cfg", "preprocess_cfg")}
        if report.checkpoint.architecture != architecture:
            yield misfit("checkpoint.architecture", f"is not that of {CONFIG_NAME}")
    curve = folder.read(CURVE_NAME, parse_json)
    if curve is not None:
        yield from training.compare_curve(curve, document)
    yield from _scanned(folder, report)


def _scanned(folder: CheckedFolder, report: Report) -> Iterator[Finding]:
    """The report of the scan that a cleaning began with."""
    own_id = None if report.origin is None else report.origin.job_id
    if report.scan is None or own_id is None or report.scan.scan_id != own_id:
        return
    yield from folder.missing(SCAN_NAME)
    found = folder.read(SCAN_NAME, scans.parse)
    if found is None:
        return
    findings = [*scans.check(found), *scans.check_files(found, folder)]
    if folder.stated is not None:
        findings += statement.compare_scan_order(found, folder.stated.predicate.observed)
    yield from (replace(one, file=SCAN_NAME) if one.file == REPORT_NAME else one for one in findings)
    yield from scan_section.compare(report, found, folder.sha256[SCAN_NAME])
