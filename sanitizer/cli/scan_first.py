"""The scan that a cleaning begins with where nobody named a trigger."""

from __future__ import annotations

import argparse
from pathlib import Path

from cleanclip.spec.jobspec import STATE_PATH, ScanSpec
from cleanclip.spec.null_set import NullSet
from cleanclip.spec.recipe import AuditOptions
from cleanclip.spec.scan_options import ScanOptions
from sanitizer.cli import pages
from sanitizer.cli.arguments import scan_from
from sanitizer.pipeline import scan as pipeline
from sanitizer.pipeline.places import Places
from sanitizer.run import Run

SCANNED_NAME = "scan"
"""The folder of a cleaning's own scan."""


def scan_into(
    folder: Path,
    arguments: argparse.Namespace,
    checkpoint: Path,
    audit: AuditOptions,
    run: Run,
    *,
    null: NullSet | None,
) -> None:
    """The scan before a cleaning and its `audit`: report and pages in `folder`. The same call again makes no
    part twice."""
    options, seed = scan_from(arguments.scan_options), arguments.seed
    if null is not None and options is None:
        options, seed = null.options, null.seed
    places = Places(checkpoint=checkpoint, data=arguments.labelled, out=folder, state=folder / STATE_PATH)
    spec = ScanSpec(scan=options or ScanOptions(), audit=audit, seed=seed, save_every_s=None)
    pages.write_pages(pipeline.scan(places, spec, run, null=null), folder, run.progress)
