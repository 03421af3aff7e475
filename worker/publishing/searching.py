"""Kinds of jobs that look at a model or at data and change neither: one table of how each ends.

A kind that is added has an entry here, a spec, a report with a check of its own (`cleanclip.evidence.kinds`)
and pages (`sanitizer.rendering.documents`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from app.db.repositories.attempt_values import NewVerdict
from app.domain.states import JobKind
from cleanclip.spec.jobspec import REPORT_NAME, ScanSpec, VetSpec
from cleanclip.spec.report_kinds import AnyReport
from cleanclip.spec.scan_report import ScanReport, dump_scan
from cleanclip.spec.vet_report import dump_vet_report
from worker.confinement.child_json import fit_for_a_row
from worker.confinement.outcome import wanted_outputs
from worker.failures import not_believed, not_confirmed
from worker.publishing import scanning, vetting
from worker.publishing.believing import our_environment
from worker.publishing.completing import Warn, draw_pages
from worker.publishing.fresh_child import FreshChildren, take_input
from worker.publishing.packing import Packing
from worker.publishing.shown import shown_warnings
from worker.publishing.statement import Recheck
from worker.staging.known import Known
from worker.staging.stage import Staged


def _nothing(_: Any) -> Any:
    return ()


@dataclass(frozen=True, kw_only=True)
class Search:
    """`believe` checks report.json and writes it again from what we know; `beside` are files of ours."""

    believe: Callable[[bytes, Any, Known, datetime], AnyReport]
    dump: Callable[[Any], bytes]
    shown: Callable[[Any], Mapping[str, Any]]
    verdicts: Callable[[Any], Sequence[NewVerdict]] = _nothing
    beside: Callable[[Known], Mapping[str, bytes]] = lambda _: {}


SEARCHES: Mapping[str, Search] = {
    "scan": Search(
        believe=scanning.believe_scan,
        dump=dump_scan,
        shown=scanning.shown_scan,
        verdicts=lambda report: (scanning.scan_verdict(report),),
        beside=scanning.null_beside,
    ),
    "vet": Search(believe=vetting.believe_vet, dump=dump_vet_report, shown=vetting.shown_vet),
}
"""By the spec's kind."""


def complete_search(
    packing: Packing,
    staged: Staged,
    fresh: FreshChildren,
    *,
    inputs: Path,
    signs: bool,
    is_resumed: bool,
    ended_at: str,
    warn: Warn,
    check: Callable[[], None],
) -> tuple[AnyReport, Recheck]:
    """Check and complete what lies in `packing`; the report as it goes on, and whether it was confirmed.

    Where results are signed a fresh child makes the search again, of `inputs`, the folder of the first one,
    which is dead; a vetting always, because its report shows captions and images. What it leaves is
    published. On a CPU the first one's report must be the same, unless that was `is_resumed`, perhaps on
    another machine. Raises AttemptFailed, Stopped, OSError.
    """
    spec, known = staged.spec, staged.known
    assert isinstance(spec, ScanSpec | VetSpec), "it is in the table"
    assert known is not None, "it is a customer's job"
    search, at = SEARCHES[spec.kind], datetime.fromisoformat(ended_at)
    report = _believed(packing, spec, known, fresh, at)
    recheck = Recheck(done=False, why="not_signed")
    if signs or spec.kind == "vet":
        for one in staged.received:
            take_input(inputs, one, fresh.folder_of(spec), check)
        wanted = wanted_outputs(JobKind(spec.kind), weights_bytes=staged.most_weights_bytes)
        packing.take(fresh.run(spec, {}, wanted).files)
        again = _believed(packing, spec, known, fresh, at)
        is_exact = not fresh.uses_cuda and not is_resumed
        if is_exact and _without_time(again) != _without_time(report):
            raise not_confirmed("it finds something else in the same data")
        report = again
        recheck = Recheck(done=True, why="by_default", tolerated_share=0.0 if is_exact else None)
    for name, content in {REPORT_NAME: search.dump(report), **search.beside(known)}.items():
        packing.add(name, content)
    draw_pages(packing, fresh, warn)
    return report, recheck


def _without_time(report: AnyReport) -> AnyReport:
    """What two looks at the same data have in common: all but how long they took."""
    if isinstance(report, ScanReport):
        return replace(report, statistics=replace(report.statistics, wall_s=0.0))
    return report


def _believed(
    packing: Packing, spec: ScanSpec | VetSpec, known: Known, fresh: FreshChildren, at: datetime
) -> AnyReport:
    raw = packing.path(REPORT_NAME).read_bytes()
    report = SEARCHES[spec.kind].believe(raw, spec, known, at)
    return replace(report, environment=our_environment(report.environment, uses_cuda=fresh.uses_cuda))


def result_of(report: AnyReport) -> dict[str, Any]:
    """What the job's row carries of it. Raises AttemptFailed."""
    result = {
        report.kind: SEARCHES[report.kind].shown(report),
        "warnings": shown_warnings(report.warnings),
    }
    try:
        return fit_for_a_row(result)
    except ValueError as error:
        raise not_believed(f"the figures of its report are more than a job has: {error}") from error
