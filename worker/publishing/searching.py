"""Kinds of jobs that look at a model or at data and change neither: one table of how each ends.

A kind with a report of its own has an entry here, a check (`cleanclip.evidence.kinds`) and pages
(`sanitizer.rendering.documents`); one whose value names a `PlainReport` needs none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.db.repositories.attempt_values import NewVerdict
from app.domain.states import JobKind
from cleanclip.vocabulary.jobspec import REPORT_NAME, SearchSpec
from cleanclip.vocabulary.report_kinds import AnyReport, dump_plain
from cleanclip.vocabulary.scan_report import dump_scan
from cleanclip.vocabulary.vet_report import dump_vet_report
from worker.confinement.outcome import wanted_outputs
from worker.failures import not_confirmed
from worker.publishing import plain, scanning, vetting
from worker.publishing.checking import our_environment
from worker.publishing.completing import draw_pages
from worker.publishing.ending import Ending, Publication, Stated, row_of
from worker.publishing.fresh_child import take_input
from worker.publishing.statement import Recheck
from worker.staging.known import Known


def _nothing(_: Any) -> Any:
    return ()


@dataclass(frozen=True, kw_only=True)
class Search:
    """`check` holds report.json to what we know and writes it again; `beside` are files of ours."""

    check: Callable[[bytes, Any, Known, datetime], AnyReport]
    dump: Callable[[Any], bytes]
    shown: Callable[[Any], Mapping[str, Any]]
    verdicts: Callable[[Any], Sequence[NewVerdict]] = _nothing
    beside: Callable[[Known], Mapping[str, bytes]] = lambda _: {}
    without_time: Callable[[Any], AnyReport] = lambda report: report
    """What two looks at the same data have in common: all but how long they took."""
    always_again: bool = False
    """Whether a second process does it also where nothing is signed."""


SEARCHES: Mapping[str, Search] = {
    "scan": Search(
        check=scanning.check_scan,
        dump=dump_scan,
        shown=scanning.shown_scan,
        verdicts=lambda report: (scanning.scan_verdict(report),),
        beside=scanning.null_beside,
        without_time=scanning.without_time,
    ),
    "vet": Search(check=vetting.check_vet, dump=dump_vet_report, shown=vetting.shown_vet, always_again=True),
}
"""By the spec's kind."""
PLAIN = Search(check=plain.check_plain, dump=dump_plain, shown=plain.shown_plain)
"""Of any other."""


def end_search(work: Publication) -> Ending:
    """Check and complete what its child left.

    Where results are signed a fresh child makes the search again; a vetting always, because its report shows
    captions and images. What it leaves is published. On a CPU the first one's report must be the same, unless
    that was resumed, perhaps on another machine. Raises AttemptFailed, Stopped, OSError.
    """
    packing, fresh, spec = work.packing, work.fresh, work.spec(SearchSpec)
    search = SEARCHES.get(spec.kind, PLAIN)
    report = _checked(work, spec)
    recheck = Recheck(done=False, why="not_signed")
    if work.signs or search.always_again:
        for one in work.staged.received:
            take_input(work.inputs, one, fresh.folder_of(spec), work.check)
        wanted = wanted_outputs(JobKind(spec.kind), weights_bytes=work.staged.most_weights_bytes)
        packing.take(fresh.run(spec, {}, wanted).files)
        again = _checked(work, spec)
        if work.is_exact and search.without_time(again) != search.without_time(report):
            raise not_confirmed("it finds something else in the same data")
        report = again
        recheck = Recheck(done=True, why="by_default", tolerated_share=0.0 if work.is_exact else None)
    for name, content in {REPORT_NAME: search.dump(report), **search.beside(work.known)}.items():
        packing.add(name, content)
    draw_pages(work)
    stated = Stated(report=report, recheck=recheck)
    return Ending(result=result_of(report), verdicts=search.verdicts(report), stated=stated)


def _checked(work: Publication, spec: SearchSpec) -> AnyReport:
    raw = work.packing.path(REPORT_NAME).read_bytes()
    report = SEARCHES.get(spec.kind, PLAIN).check(raw, spec, work.known, work.at)
    environment = our_environment(report.environment, uses_cuda=work.fresh.uses_cuda)
    return replace(report, environment=environment)


def result_of(report: AnyReport) -> dict[str, Any]:
    """What the job's row carries of it. Raises AttemptFailed."""
    return row_of(report, {report.kind: SEARCHES.get(report.kind, PLAIN).shown(report)})
