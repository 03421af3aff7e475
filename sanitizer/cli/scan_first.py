"""The scan that a cleaning begins with where nobody named a trigger."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanclip.spec.jobspec import STATE_PATH
from cleanclip.spec.null_set import NullSet
from cleanclip.spec.progress import Progress, Stop
from cleanclip.spec.recipe import AuditOptions
from cleanclip.spec.scan_options import ScanOptions
from sanitizer.cli import pages
from sanitizer.cli.arguments import scan_from
from sanitizer.pipeline import scan as pipeline

SCANNED_NAME = "scan"
"""The folder of a cleaning's own scan."""


def scan_into(
    folder: Path,
    arguments: argparse.Namespace,
    checkpoint: Path,
    audit: AuditOptions,
    *,
    null: NullSet | None,
    progress: Progress,
    stop: Stop,
) -> None:
    """The scan before a cleaning and its `audit`: report and pages in `folder`. The same call again makes no
    part twice."""
    options, seed = scan_from(arguments.scan_options), arguments.seed
    if null is not None and options is None:
        options, seed = null.options, null.seed
    report = pipeline.scan(
        checkpoint,
        arguments.labelled,
        options or ScanOptions(),
        folder,
        null=null,
        audit_next=audit,
        state_folder=folder / STATE_PATH,
        seed=seed,
        device=arguments.device,
        progress=progress,
        stop=stop,
    )
    pages.write_pages(report, folder, progress)
