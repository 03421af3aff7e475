"""This model among the models of a null, drawn the same on the page of a scan and in its report.html."""

import math
from collections.abc import Iterable

from cleanclip.face.drawn import Drawn, figure, key, label, line, text
from cleanclip.vocabulary.scan_report import ScanReport

_WIDTH, _LEFT, _RIGHT, _ROW = 420, 14, 406, 64
_APART = 8.0
"""Dots that are nearer than this, in units of the drawing, cover each other."""


def null_plot(report: ScanReport) -> Drawn:
    """A row for each detector, the null's models as dots on a line, this model as a diamond under it. Empty
    where there is no null to show."""
    judged = [one for one in report.judgements if one.others and math.isfinite(one.z)]
    values = [value for one in judged for value in (one.z, *one.others)]
    if report.null is None or not values:
        return Drawn()
    low, high = min(values), max(values)

    def at(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / ((high - low) or 1.0), 1)

    marks = []
    for top, one in zip(range(0, _ROW * len(judged), _ROW), judged, strict=True):
        marks.append(label(10, top + 16, "name", text(f"{one.detector}: {one.what}"[:60])))
        marks.append(line(_LEFT, top + 40, _RIGHT, top + 40, "grid"))
        for place, num in _dots(map(at, one.others)):
            marks.append(f'<circle class="null-dot" cx="{place}" cy="{top + 40}" r="4"/>')
            if num > 1:
                marks.append(label(place, top + 32, "count", str(num)))
        marks.append(f'<path class="suspect" d="M {at(one.z)} {top + 45} l 7 9 l -7 9 l -7 -9 z"/>')
    bottom = _ROW * len(judged)
    for side, value in (("first", low), ("last", high)):
        marks.append(label(at(value), bottom + 16, f"tick {side}", f"{value:.3g}"))
    words = " ".join(
        f"{one.detector} ({one.what}): this model is {one.rank} of {one.of}, at {one.z:.3g}; "
        f"{one.standing}; the highest of them is {max(one.others):.3g}."
        for one in judged
    )
    models = f"{report.null.num_models} models of the null “{text(report.null.name)}”"
    return figure(
        "null",
        (_WIDTH, bottom + 24),
        ("How conspicuous each model is; this one is the diamond", text(words)),
        marks,
        key("null-dot", f"{models}; a number says how many lie at one place")
        + key("suspect", "this model")
        + "To the right is more conspicuous.",
    )


def _dots(places: Iterable[float]) -> list[tuple[float, int]]:
    """From left to right: where values lie together, the mean of their places and how many they are."""
    together: list[list[float]] = []
    for place in sorted(places):
        if together and place - together[-1][0] < _APART:
            together[-1].append(place)
        else:
            together.append([place])
    return [(round(sum(one) / len(one), 1), len(one)) for one in together]
