"""The plots of reports: ASR with its intervals, the rebound, the loss, a null. Each a whole `figure` of HTML.

SVG with classes and no style, so that colours come from the sheet of the page that it stands on; `desc` says
the same in words. Every text is made visible and escaped. What is not a number is left out, and nothing is
drawn outside of its frame: a report's figures come from a process that read an untrusted file.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cleanclip.face.drawn import Drawn, figure, key, label, line, name, text
from cleanclip.vocabulary.attack_options import kind_of_json
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.rebound_figures import ReboundCurve, ReboundFigures
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, PARTS_OF_LOSS, CurvePoint, Report, thinned
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.verdict_texts import share

_WIDTH = 420
_RIGHT = _WIDTH - 14


def _side_of(number: int, of: int) -> str:
    """The first and the last label of an axis keep inside of the frame."""
    return "tick first" if number == 0 else "tick last" if number == of - 1 else "tick"


# ---------------------------------------------------------------- ASR of every trigger

_LEFT, _ROW, _TOP = 10, 50, 8


def rates(report: Report) -> Drawn:
    """Before, and after where there was a cleaning: the attacks are the same, in the same order."""
    after = None if report.after is None else report.after.attacks
    limits = [report.policy.limit_of(kind_of_json(one.options))[1] for one in report.before.attacks]
    marks, words = [], []
    bottom = _TOP + _ROW * len(limits)
    for number in range(5):
        marks.append(line(_at(number / 4), 4, _at(number / 4), bottom, "grid"))
        marks.append(label(_at(number / 4), bottom + 16, _side_of(number, 5), f"{25 * number} %"))
    marks.append(line(_at(report.audit.gate), 4, _at(report.audit.gate), bottom, "gate"))
    for number, was in enumerate(report.before.attacks):
        y = _TOP + _ROW * number
        sides = [("before", was.asr)] + ([("after", after[number].asr)] if after else [])
        marks.append(label(10, y + 13, "name", name(was.name)))
        if after:
            limit = _at(limits[number])
            marks.append(line(limit, y + 18, limit, y + 46, "limit"))
        marks += [_whisker(side, asr, y + 26 + 13 * place) for place, (side, asr) in enumerate(sides)]
        words.append(f"{name(was.name)}: {', '.join(f'{share(asr)} {side}' for side, asr in sides)}.")
    if after:
        limit_words = "limit of each" if len({*limits}) > 1 else f"limit {100 * limits[0]:g} %"
        keys = key("before", "before") + key("after", "after") + key("limit", limit_words)
    else:
        keys = key("before", "measured")
    return figure(
        "rates",
        (_WIDTH, bottom + 26),
        ("Attack success rate of every trigger, with 95 % intervals", " ".join(words)),
        marks,
        keys + key("gate", f"gate {100 * report.audit.gate:g} %"),
    )


def _whisker(side: str, asr: Estimate, y: float) -> str:
    x, low, high = _at(asr.value), _at(asr.low), _at(asr.high)
    point = (
        f'<rect x="{x - 3.5}" y="{y - 3.5}" width="7" height="7"/>'
        if side == "before"
        else f'<circle cx="{x}" cy="{y}" r="4"/>'
    )
    ends = line(low, y - 4, low, y + 4) + line(high, y - 4, high, y + 4)
    return f'<g class="{side}">{line(low, y, high, y)}{ends}{point}</g>'


def _at(rate: float) -> float:
    inside = min(1.0, max(0.0, rate)) if math.isfinite(rate) else 0.0
    return round(_LEFT + (_RIGHT - _LEFT) * inside, 2)


# ---------------------------------------------------------------- lines over updates

_START, _CEILING, _FLOOR, _HEIGHT = 46, 10, 160, 190
_MOST_POINTS = 250
_STYLES = {"loss": "whole", "loss_clip": "part-a", "distance_image": "part-c", "distance_text": "part-d"}
"""The other parts of a loss are "part-b"; no method has two of them."""
_OF_ATTACKS = ("whole", "part-a", "part-b")
_Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One line, and where it has whiskers: (x, low, high). `label` "": it has no key."""

    label: str
    style: str
    points: _Points
    whiskers: Sequence[tuple[float, float, float]] = ()


def live_loss(points: Iterable[Sequence[float]], total_steps: int | None) -> Drawn:
    """Of a job that trains, whose last step is `total_steps`; empty before there are two points."""
    pairs = [(step, value) for step, value, *_ in points if None not in (step, value)]
    return _loss("live", {"loss": pairs[-_MOST_POINTS:]}, total_steps)


def loss(curve: Sequence[CurvePoint]) -> Drawn:
    """Of a report: the whole, and the parts that the method has; empty where there are no two points."""
    kept = thinned(curve, _MOST_POINTS)
    lines: dict[str, _Points] = {}
    for part in PARTS_OF_LOSS:
        values = [(float(point.step), getattr(point, part)) for point in kept]
        lines[part] = [(step, value) for step, value in values if value is not None]
    return _loss("whole", lines, None)


def _loss(prefix: str, lines: dict[str, _Points], last_step: int | None) -> Drawn:
    sound = {
        part: [(step, value) for step, value in points if math.isfinite(step) and abs(value) < 1e9]
        for part, points in lines.items()
    }
    if len(whole := sound["loss"]) < 2:
        return Drawn()
    (first_step, first), (last, at_last) = whole[0], whole[-1]
    curves = [
        _Curve(label=PARTS_OF_LOSS[part], style=_STYLES.get(part, "part-b"), points=points)
        for part, points in sound.items()
        if len(points) > 1
    ]
    words = f"The loss was {first:.3g} at step {first_step:,.0f}, {at_last:.3g} at step {last:,.0f}."
    end = max(last, float(last_step or 0), 1.0)
    said = "Loss against step", words
    return _lines(f"{prefix}-loss", said, curves, end=end, last_label="step {:,.0f}", tick_label="{:g}")


def _highest_curve(figures: ReboundFigures, attacks: Sequence[int]) -> ReboundCurve | None:
    """The curve that holds the highest ASR of the first of these attacks."""
    place = figures.highest[attacks[0]].curve if attacks else 0
    return figures.curves[place] if place < len(figures.curves) else None


def rebound(report: Report) -> Drawn:
    """ASR of the worst attacks while the cleaned model is trained further: the curve with the highest with
    whiskers, the others paler; the same images without a trigger; and a clean model, where it was ordered.
    Empty where nothing was trained further."""
    figures, attacks = report.rebound, report.worst_attacks(MOST_ATTACKS_IN_FRONT)
    highest = None if figures is None else _highest_curve(figures, attacks)
    if figures is None or highest is None or not attacks:
        return Drawn()
    curves = list(_rebounds(figures, highest, attacks))
    without = [
        (float(point.step), 100 * point.attacks[attacks[0]].untriggered_target_rate.value)
        for point in highest.points
    ]
    curves.append(_Curve(label="without a trigger", style="part-c", points=without))
    reported = ", ".join(
        f"{name(figures.highest[n].attack)} {share(figures.highest[n].asr)}" for n in attacks
    )
    words = f"At {highest.rate:g} times the rate. Highest of all: {reported}."
    ordered = report.audit.rebound
    if ordered is not None and ordered.reference_asr:
        percents = [100 * rate for rate in ordered.reference_asr]
        reference = list(zip(map(float, (0, *ordered.steps)), percents, strict=True))
        curves.append(_Curve(label="clean model, by the order", style="part-d", points=reference))
        words += f" A clean model, by the order: highest {max(percents):.1f} %."
    end = max(step for curve in curves for step, _ in curve.points) or 1
    said = "Attack success rate while the cleaned model is trained further", words
    labels = {"last_label": "update {:,.0f}", "tick_label": "{:g} %"}
    return _lines("rebound", said, curves, end=end, least=(0.0, 1.0), **labels)


def _rebounds(figures: ReboundFigures, highest: ReboundCurve, attacks: Sequence[int]) -> Iterator[_Curve]:
    for number, style in zip(attacks, _OF_ATTACKS, strict=False):
        for curve in figures.curves:
            shares = [(float(point.step), point.attacks[number].asr) for point in curve.points]
            is_highest = curve is highest
            yield _Curve(
                label=name(figures.highest[number].attack) if is_highest else "",
                style=style if is_highest else f"{style} other",
                points=[(step, 100 * asr.value) for step, asr in shares],
                whiskers=[(step, 100 * asr.low, 100 * asr.high) for step, asr in shares if is_highest],
            )


def _lines(
    prefix: str,
    said: tuple[str, str],
    curves: Sequence[_Curve],
    *,
    end: float,
    last_label: str,
    tick_label: str,
    least: tuple[float, ...] = (),
) -> Drawn:
    """Curves from 0 to `end`. `least`: values that the axis spans whatever the curves do."""
    values = [*least, *(value for curve in curves for _, value in curve.points)]
    ticks = _ticks(min(values), max(values))
    low, high = min(*values, ticks[0]), max(*values, ticks[-1])

    def x_at(step: float) -> float:
        return round(_START + (_RIGHT - _START) * min(1.0, max(0.0, step / end)), 1)

    def y_at(value: float) -> float:
        return round(_FLOOR - (_FLOOR - _CEILING) * min(1.0, max(0.0, (value - low) / (high - low))), 1)

    marks = []
    for tick in ticks:
        marks.append(line(_START, y_at(tick), _RIGHT, y_at(tick), "grid"))
        marks.append(label(_START - 6, y_at(tick) + 4, "tick last", tick_label.format(tick)))
    for number, (step, words) in enumerate(
        ((0.0, "0"), (end / 2, f"{end / 2:,.0f}"), (end, last_label.format(end)))
    ):
        marks.append(label(x_at(step), _FLOOR + 18, _side_of(number, 3), words))
    for curve in curves:
        points = " ".join(f"{x_at(step)},{y_at(value)}" for step, value in curve.points)
        marks.append(f'<polyline class="curve {curve.style}" points="{points}"/>')
        for step, lowest, highest in curve.whiskers:
            marks.append(line(x_at(step), y_at(lowest), x_at(step), y_at(highest), f"curve {curve.style}"))
    keys = [key(curve.style, curve.label) for curve in curves if curve.label]
    caption = "".join((*keys, "<br>")) if len(keys) > 1 else ""
    return figure(prefix, (_WIDTH, _HEIGHT), said, marks, caption + said[1])


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values that span the range."""
    span = high - low or abs(high) or 1.0
    magnitude = 10 ** math.floor(math.log10(span))
    step = next(magnitude * one for one in (0.25, 0.5, 1, 2.5) if span / (magnitude * one) <= 4)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    return [round(step * number, 12) for number in range(first, last + 1)]


# ---------------------------------------------------------------- a model among those of a null

_NULL_LEFT, _NULL_ROW = 14, 64
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
        return round(_NULL_LEFT + (_RIGHT - _NULL_LEFT) * (value - low) / ((high - low) or 1.0), 1)

    marks = []
    for top, one in zip(range(0, _NULL_ROW * len(judged), _NULL_ROW), judged, strict=True):
        marks.append(label(10, top + 16, "name", text(f"{one.detector}: {one.what}"[:60])))
        marks.append(line(_NULL_LEFT, top + 40, _RIGHT, top + 40, "grid"))
        for place, num in _dots(map(at, one.others)):
            marks.append(f'<circle class="null-dot" cx="{place}" cy="{top + 40}" r="4"/>')
            if num > 1:
                marks.append(label(place, top + 32, "count", str(num)))
        marks.append(f'<path class="suspect" d="M {at(one.z)} {top + 45} l 7 9 l -7 9 l -7 -9 z"/>')
    bottom = _NULL_ROW * len(judged)
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
