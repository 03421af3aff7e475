"""This model among the models of a null, drawn the same on the page of a scan and in its report.html."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from cleanclip.spec.scan_report import DetectorJudgement
from cleanclip.spec.untrusted import shown

_WIDTH, _LEFT, _RIGHT, _ROW = 420, 14, 406, 64
_APART = 8.0
"""Dots that are nearer than this, in units of the drawing, cover each other."""


def null_plot(judgements: Sequence[DetectorJudgement]) -> str:
    """SVG with classes and no style: a row for each detector, the null's models as dots on a line, this model
    as a diamond under it; `desc` says the same in words. Empty where there is no null to show."""
    judged = [one for one in judgements if one.others and math.isfinite(one.z)]
    values = [value for one in judged for value in (one.z, *one.others)]
    if not values:
        return ""
    low, high = min(values), max(values)

    def at(value: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (value - low) / ((high - low) or 1.0), 1)

    marks = []
    for top, one in zip(range(0, _ROW * len(judged), _ROW), judged, strict=True):
        marks.append(
            f'<text x="10" y="{top + 16}" class="name">{_text(f"{one.detector}: {one.what}"[:60])}</text>'
        )
        marks.append(f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{top + 40}" y2="{top + 40}"/>')
        for place, num in _dots(map(at, one.others)):
            marks.append(f'<circle class="null-dot" cx="{place}" cy="{top + 40}" r="4"/>')
            if num > 1:
                marks.append(f'<text x="{place}" y="{top + 32}" class="count">{num}</text>')
        marks.append(f'<path class="suspect" d="M {at(one.z)} {top + 45} l 7 9 l -7 9 l -7 -9 z"/>')
    bottom = _ROW * len(judged)
    for side, value in (("first", low), ("last", high)):
        marks.append(f'<text x="{at(value)}" y="{bottom + 16}" class="tick {side}">{value:.3g}</text>')
    words = " ".join(
        f"{one.detector} ({one.what}): this model is {one.rank} of {one.of}, at {one.z:.3g}; "
        f"{one.standing}; the highest of them is {max(one.others):.3g}."
        for one in judged
    )
    return (
        f'<svg class="null-plot" viewBox="0 0 {_WIDTH} {bottom + 24}" role="img" '
        'aria-labelledby="null-name null-words" xmlns="http://www.w3.org/2000/svg">'
        '<title id="null-name">How conspicuous each model is; this one is the diamond</title>'
        f'<desc id="null-words">{_text(words)}</desc>{"".join(marks)}</svg>'
    )


def _text(text: str) -> str:
    return escape(shown(text, 2000))


def _dots(places: Iterable[float]) -> list[tuple[float, int]]:
    """From left to right: where values lie together, the mean of their places and how many they are."""
    together: list[list[float]] = []
    for place in sorted(places):
        if together and place - together[-1][0] < _APART:
            together[-1].append(place)
        else:
            together.append([place])
    return [(round(sum(one) / len(one), 1), len(one)) for one in together]
