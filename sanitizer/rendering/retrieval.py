"""Retrieval as it stands in a page: rows of figures, and what of them does not fit. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cleanclip.spec.report import (
    MOST_ATTACKS_IN_FRONT,
    Difference,
    Estimate,
    RecallAtK,
    Report,
    RetrievalFigures,
)
from cleanclip.spec.strangers import name
from sanitizer.rendering.counted import MAX_COUNT, difference, follows
from sanitizer.rendering.table_rows import Row, Share

_WAYS = (
    ("image_to_text", "Picture to caption", "pictures with a caption of theirs"),
    ("text_to_image", "Caption to picture", "captions with a picture of theirs"),
)


@dataclass(frozen=True, kw_only=True)
class LostRow:
    """What recall lost, in one figure; `path` leads to it in report.json."""

    title: str
    path: str
    lost: Difference


def recall(report: Report) -> list[Row]:
    """Recall both ways, for every k; empty where retrieval was not measured."""
    sides = _sides(report)
    return [
        Row(
            title=f"{title}, R@{one.k}",
            meaning=f"{meaning} among the first {one.k}",
            shares=tuple(
                Share(path=f"{path}.{way}.{index}.share", estimate=_of_way(figures, way)[index].share)
                for path, figures in sides
            ),
        )
        for way, title, meaning in _WAYS
        for index, one in enumerate(_of_way(sides[0][1], way) if sides else ())
    ]


def front(report: Report) -> list[Row]:
    """R@1 both ways, and of the first attacks how often they bring up the target; for the short page."""
    first = [row for row in recall(report) if row.title.endswith("R@1")]
    return [*first, *captions(report)[: 1 + MOST_ATTACKS_IN_FRONT]]


def lost(report: Report) -> list[LostRow]:
    """What recall lost by cleaning."""
    told = report.retrieval_lost
    return [
        LostRow(title=f"{title}, R@{one.k}", path=f"retrieval_lost.{way}.{index}.lost", lost=one.lost)
        for way, title, _ in _WAYS
        for index, one in enumerate(getattr(told, way) if told else ())
    ]


def captions(report: Report) -> list[Row]:
    """How often a caption that names a target comes up: without a trigger, then with each attack's."""
    sides = _sides(report)
    if not sides:
        return []
    first, rows = sides[0][1], []
    for number, target in enumerate(first.targets):
        rows.append(
            Row(
                title="Target caption, no trigger",
                meaning=f"a caption that names “{name(target.target)}” among the first {target.k}",
                shares=_shares(
                    [
                        (f"{path}.targets.{number}.untriggered", side.targets[number].untriggered)
                        for path, side in sides
                    ]
                ),
            )
        )
    for number, attack in enumerate(first.attacks):
        rows.append(
            Row(
                title=f"Target caption, {name(attack.attack)}",
                meaning=f"with the trigger, a caption that names “{name(attack.target)}”, likewise",
                shares=_shares(
                    [
                        (f"{path}.attacks.{number}.triggered", side.attacks[number].triggered)
                        for path, side in sides
                    ]
                ),
            )
        )
    return [row for row in rows if row.shares]


def _shares(told: Sequence[tuple[str, Estimate | None]]) -> tuple[Share, ...]:
    return tuple(Share(path=path, estimate=estimate) for path, estimate in told if estimate is not None)


def _sides(report: Report) -> list[tuple[str, RetrievalFigures]]:
    sides = (("before", report.before), ("after", report.after))
    return [
        (f"{side}.retrieval", audit.retrieval)
        for side, audit in sides
        if audit is not None and audit.retrieval is not None
    ]


def _of_way(figures: RetrievalFigures, way: str) -> tuple[RecallAtK, ...]:
    found: tuple[RecallAtK, ...] = getattr(figures, way)
    return found


def misfits(report: Report) -> Iterator[tuple[str, str]]:
    """What a page cannot show honestly: a figure that is not that of its counts, before or after alone."""
    sides = _sides(report)
    if sides and len(sides) != (1 if report.after is None else 2):
        yield "retrieval", "was not measured both before and after"
        return
    if (report.retrieval_lost is None) != (len(sides) < 2):
        yield "retrieval_lost", "belongs to retrieval before and after a cleaning"
        return
    for path, figures in sides:
        shares = [one.share for way, _, _ in _WAYS for one in _of_way(figures, way)]
        told = [
            *(one.untriggered for one in figures.targets),
            *(attack.triggered for attack in figures.attacks),
        ]
        shares += [share for share in told if share is not None]
        if not all(map(follows, shares)):
            yield path, "does not follow from its counts"
        if not 2 <= min(figures.num_images, figures.num_captions) <= figures.num_pairs <= MAX_COUNT:
            yield path, "counts pairs that cannot be"
        if _shape(figures) != _shape(sides[0][1]):
            yield path, "is no second measurement of the same pairs"
    ordered = [(one.name, one.target or report.audit.target) for one in report.before.attacks]
    if sides and [(one.attack, one.target) for one in sides[0][1].attacks] != ordered:
        yield "retrieval.attacks", "are not those that were ordered"
    changes = report.retrieval_lost
    if changes is not None and any(
        [one.k for one in getattr(changes, way)] != [one.k for one in _of_way(sides[0][1], way)]
        for way, _, _ in _WAYS
    ):
        yield "retrieval_lost", "is not of the same k"
    for row in lost(report):
        yield from difference(row.path, row.lost)


def _shape(figures: RetrievalFigures) -> tuple[object, ...]:
    """What is the same before and after."""
    ks = [[one.k for one in _of_way(figures, way)] for way, _, _ in _WAYS]
    targets = [
        (one.target, one.k, one.num_naming, one.num_images, one.untriggered is None)
        for one in figures.targets
    ]
    attacks = [(one.attack, one.target, one.triggered is None) for one in figures.attacks]
    return figures.num_pairs, figures.num_images, figures.num_captions, ks, targets, attacks
