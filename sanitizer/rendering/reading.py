"""Reads report.json for rendering, and refuses what cannot be shown honestly.

A page makes figures look certain. So nothing is drawn whose figures do not follow from their counts, or whose
verdict does not follow from its figures; `cleanclip verify` says in full what is wrong with a folder.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from cleanclip.spec.errors import ReportRejected
from cleanclip.spec.report import (
    MOST_CLASSES_TOLD,
    AuditFigures,
    CurvePoint,
    Estimate,
    Report,
    TopK,
    Verdict,
    load_json,
)
from sanitizer.audits.verdict import judge
from sanitizer.rendering import examples, fitting, retrieval
from sanitizer.rendering.counted import MAX_COUNT, difference, follows

MAX_BYTES = 8 * 2**20
_MAX_MEASURE = 1e100
"""Of a loss or a rate; training is stopped long before. What is not a number is not below it either."""
_FARTHEST = 4 + 1e-4
"""Between unit rows, summed in single precision."""


def read_report(path: Path) -> Report:
    """The report in the file, checked. Raises ReportRejected."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_BYTES + 1) if is_file else b""
    except OSError as error:
        raise _rejected("report_unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if not is_file:
        raise _rejected("report_unreadable", f"{path} is no plain file.")
    if len(data) > MAX_BYTES:
        raise _rejected("report_too_large", f"{path} is larger than {MAX_BYTES // 2**20} MiB.")
    return parse_report(data)


def parse_report(data: bytes) -> Report:
    """The report in these bytes, checked. Raises ReportRejected."""
    try:
        report = load_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _rejected(
            "report_malformed",
            f"This is no report that this version reads: {first['msg']} at '{where or 'the beginning'}'."
            f"{_newer(data)}",
            where=where,
        ) from error
    check(report)
    return report


def check(report: Report) -> None:
    """Raises ReportRejected where a figure, the curve or the verdict does not fit."""
    for where, message in _misfits(report):
        raise _rejected(
            "report_inconsistent", f"The report contradicts itself: {where} {message}.", where=where
        )


def _rejected(code: str, message: str, where: str | None = None) -> ReportRejected:
    remedy = "Give a report.json as a job left it; cleanclip verify checks the folder that it came in."
    return ReportRejected(code, message, remedy, where=where)


def _newer(data: bytes) -> str:
    try:
        version = json.loads(data)["schema_version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return " Its schema is newer than this program: upgrade it." if version in range(2, 1000) else ""


def _misfits(report: Report) -> Iterator[tuple[str, str]]:
    for name, audit in (("before", report.before), ("after", report.after)):
        if audit is not None:
            yield from _audit(name, audit, len(report.audit.attacks))
    if (report.after is None) != (report.ca_lost is None) or (report.after is None) != (
        report.kind == "audit"
    ):
        yield "after", "and ca_lost belong to a cleaning, and to nothing else"
    if report.ca_lost is not None:
        yield from difference("ca_lost", report.ca_lost)
    yield from _attack_changes(report)
    yield from _classes_lost(report)
    yield from fitting.classes(report)
    yield from fitting.targets(report)
    yield from fitting.settings(report)
    yield from _places(report)
    yield from fitting.ranks(report)
    yield from fitting.drift(report)
    yield from fitting.linear_probe(report)
    yield from retrieval.misfits(report)
    yield from examples.misfits(report)
    if report.training is not None:
        yield from _curve(report.training.curve)
    yield from _verdict(report)


def _attack_changes(report: Report) -> Iterator[tuple[str, str]]:
    changes, after = report.attack_changes, report.after
    if not changes:
        return
    if after is None:
        yield "attack_changes", "belong to a cleaning"
        return
    if [one.attack for one in changes] != [one.name for one in after.attacks]:
        yield "attack_changes", "are not of the attacks that were measured"
        return
    for index, (change, was, now) in enumerate(
        zip(changes, report.before.attacks, after.attacks, strict=True)
    ):
        for name, lost, share_before, share_after in (
            ("asr_lost", change.asr_lost, was.asr, now.asr),
            ("pa_lost", change.pa_lost, was.pa, now.pa),
        ):
            where = f"attack_changes[{index}].{name}"
            yield from difference(where, lost)
            moved = share_before.successes - share_after.successes
            if (lost.n, lost.lost - lost.gained) != (share_before.n, moved):
                yield where, "does not lead from the figures before to those after"


def _classes_lost(report: Report) -> Iterator[tuple[str, str]]:
    changes = report.classes_lost
    if changes and report.ca_lost is None:
        yield "classes_lost", "belongs to a cleaning"
    if len(changes) > MOST_CLASSES_TOLD:
        yield "classes_lost", f"holds more than {MOST_CLASSES_TOLD} classes"
    for index, change in enumerate(changes):
        yield from difference(f"classes_lost[{index}].lost", change.lost)
        if not (follows(change.before) and follows(change.after)):
            yield f"classes_lost[{index}]", "does not follow from its counts"
        if change.lost.value <= 0:
            yield f"classes_lost[{index}]", "lost nothing"
    lost = report.ca_lost
    if changes and lost is not None:
        if sum(change.lost.n for change in changes) > lost.n:
            yield "classes_lost", "counts more pictures than were measured"
        net = sum(change.lost.lost - change.lost.gained for change in changes)
        if len(changes) < MOST_CLASSES_TOLD and net < lost.lost - lost.gained:
            yield "classes_lost", "leaves out classes that lost"


def _places(report: Report) -> Iterator[tuple[str, str]]:
    """The same k for each of the target's places, before and after, with a trigger and without."""
    audits = [audit for audit in (report.before, report.after) if audit is not None]
    ks = [one.k for one in report.before.untriggered_target_top_k]
    told = [top_k for audit in audits for top_k in _all_top_k(audit)]
    if any([one.k for one in top_k] != ks for top_k in told):
        yield "asr_top_k", "and untriggered_target_top_k are not of the same k throughout"
    nums = [data.num_classes for data in report.data if data.kind == "labelled"]
    limit = min((num for num in nums if num is not None), default=MAX_COUNT)
    if ks != sorted(set(ks)) or (ks and not 2 <= ks[0] <= ks[-1] < limit):
        yield "untriggered_target_top_k", "holds a k out of order, under 2 or not under the number of classes"


def _all_top_k(audit: AuditFigures) -> list[Sequence[TopK]]:
    floors = [audit.untriggered_target_top_k]
    floors += [further.untriggered_target_top_k for further in audit.further_targets]
    return [*floors, *(attack.asr_top_k for attack in audit.attacks)]


def _curve(points: Sequence[CurvePoint]) -> Iterator[tuple[str, str]]:
    if any(not 0 <= point.step <= MAX_COUNT for point in points):
        yield "training.curve", "counts steps that cannot be"
    elif not all(
        value is None or abs(value) < _MAX_MEASURE for point in points for value in asdict(point).values()
    ):
        yield "training.curve", "holds a value that is no number"
    elif any(
        distance is not None and not 0 <= distance <= _FARTHEST
        for point in points
        for distance in (point.distance_image, point.distance_text)
    ):
        yield "training.curve", "holds a distance that cannot be between unit embeddings"
    elif any(one.step >= other.step for one, other in itertools.pairwise(points)):
        yield "training.curve", "does not go forward"


def _audit(name: str, audit: AuditFigures, num_attacks: int) -> Iterator[tuple[str, str]]:
    if len(audit.attacks) != num_attacks:
        yield f"{name}.attacks", "are not as many as were ordered"
    estimates = {"ca": audit.ca, "ca_top5": audit.ca_top5, "untriggered": audit.untriggered_target_rate}
    for number, attack in enumerate(audit.attacks):
        estimates[f"attacks[{number}].asr"] = attack.asr
        estimates[f"attacks[{number}].asr_including_target"] = attack.asr_including_target
        estimates[f"attacks[{number}].pa"] = attack.pa
        estimates |= _top_k(f"attacks[{number}].asr_top_k", attack.asr_top_k)
    estimates |= _top_k("untriggered_target_top_k", audit.untriggered_target_top_k)
    for number, further in enumerate(audit.further_targets):
        where = f"further_targets[{number}]"
        estimates[f"{where}.untriggered_target_rate"] = further.untriggered_target_rate
        estimates |= _top_k(f"{where}.untriggered_target_top_k", further.untriggered_target_top_k)
    for figure, estimate in estimates.items():
        if not follows(estimate):
            yield f"{name}.{figure}", "does not follow from its counts"


def _top_k(where: str, shares: Sequence[TopK]) -> dict[str, Estimate]:
    return {f"{where}[{index}]": one.share for index, one in enumerate(shares)}


def _verdict(report: Report) -> Iterator[tuple[str, str]]:
    try:
        expected = judge(
            before=report.before,
            after=report.after,
            ca_lost=report.ca_lost,
            gate=report.audit.gate,
            policy=report.policy,
            limits_below_gate=report.verdict.limits_below_gate,
        )
    except ValueError as error:
        yield "after.attacks", f"are no second measurement of those before: {error}"
        return
    if _outcomes(expected) != _outcomes(report.verdict):
        yield "verdict", "does not follow from the figures"


def _outcomes(verdict: Verdict) -> list[tuple[str, str]]:
    parts = [*verdict.attacks, *([verdict.clean_accuracy] if verdict.clean_accuracy else [])]
    return [("whole", verdict.outcome), *((part.attack, part.outcome) for part in parts)]
