"""Retrieval as it stands in a page: rows of figures. Computes nothing."""

from dataclasses import dataclass

from cleanclip.face.table_rows import Row, row_of
from cleanclip.vocabulary.figures import of_retrieval
from cleanclip.vocabulary.measures import Difference
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, Report

_WAYS = (("image_to_text", "Image to caption"), ("text_to_image", "Caption to image"))


@dataclass(frozen=True, kw_only=True)
class LostRow:
    """What recall lost, in one figure; `path` leads to it in report.json."""

    title: str
    path: str
    lost: Difference


def recall(report: Report) -> list[Row]:
    """Recall both ways, for every k; empty where retrieval was not measured."""
    return [row_of(line) for line in of_retrieval(report) if line.steps[1] in dict(_WAYS)]


def captions(report: Report) -> list[Row]:
    """How often a caption that names a target comes up: without a trigger, then with each attack's."""
    return [row_of(line) for line in of_retrieval(report) if line.steps[1] not in dict(_WAYS)]


def front(report: Report) -> list[Row]:
    """R@1 both ways, and of the first attacks how often they bring up the target; for the short page."""
    first = [row for row in recall(report) if row.title.endswith("R@1")]
    return [*first, *captions(report)[: 1 + MOST_ATTACKS_IN_FRONT]]


def lost(report: Report) -> list[LostRow]:
    """What recall lost by cleaning."""
    reported = report.retrieval_lost
    return [
        LostRow(title=f"{title}, R@{one.k}", path=f"retrieval_lost.{way}.{index}.lost", lost=one.lost)
        for way, title in _WAYS
        for index, one in enumerate(getattr(reported, way) if reported else ())
    ]
