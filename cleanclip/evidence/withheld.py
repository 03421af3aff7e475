"""The audits of the withheld images: held to themselves as those of a report are, and to its statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cleanclip.evidence import figures as figures_of
from cleanclip.evidence.findings import Finding
from cleanclip.spec.report import Report


def check(report: Report) -> Iterator[Finding]:
    """As if they were the report's own, of other images."""
    withheld = report.withheld
    if withheld is None:
        return
    num_good = withheld.num_samples - withheld.num_skipped
    alone = replace(
        report,
        **withheld.measured.fields(),
        seed=withheld.seed,
        audit=replace(report.audit, linear_probe=None, examples=0),
        data=tuple(
            replace(one, num_samples=num_good, num_skipped=0) for one in report.data if one.kind == "labelled"
        ),
        rebound=None,
        withheld=None,
        control=None,
    )
    for finding in figures_of.check(alone):
        yield replace(finding, where=f"withheld.{finding.where}")
