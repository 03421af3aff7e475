"""The geometry of the plots: ASR with its intervals, the rebound, the loss while training. Numbers and words.

The templates draw them as SVG with classes, so that colours come from the sheet and every text is escaped.
What is not a number is left out, and nothing is drawn outside of its frame: a report's figures come from a
process that read a stranger's file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cleanclip.spec.attack_options import kind_of_json
from cleanclip.spec.audit_figures import AttackFigures
from cleanclip.spec.measures import Estimate
from cleanclip.spec.rebound_figures import ReboundCurve, ReboundFigures
from cleanclip.spec.rebound_options import ReboundOptions
from cleanclip.spec.recipe import AuditOptions, Policy
from cleanclip.spec.report import PARTS_OF_LOSS, CurvePoint, thinned

WIDTH = 420
_LEFT, _RIGHT = 10, WIDTH - 14
_ROW, _TOP, _BOTTOM = 50, 8, 26
_LONGEST_NAME = 40


@dataclass(frozen=True, kw_only=True)
class Whisker:
    """A share with its interval, at places of the image."""

    side: str
    x: float
    low: float
    high: float
    y: float


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """One trigger."""

    name: str
    y: float
    whiskers: tuple[Whisker, ...]
    limit_x: float | None


@dataclass(frozen=True, kw_only=True)
class RatesPlot:
    """ASR of every trigger; `words` says the same."""

    height: float
    bottom: float
    rows: tuple[RateRow, ...]
    ticks: tuple[tuple[float, str], ...]
    gate_x: float
    gate: float
    words: str
    width: int = WIDTH


def rates(
    audit: AuditOptions,
    policy: Policy,
    before: Sequence[AttackFigures],
    after: Sequence[AttackFigures] | None,
) -> RatesPlot:
    """Before, and after where there was a cleaning: the attacks are the same, in the same order."""
    rows, words = [], []
    for number, attack in enumerate(before):
        y = _TOP + _ROW * number
        sides = [("before", attack.asr)] + ([("after", after[number].asr)] if after else [])
        whiskers = [_whisker(side, asr, y + 26 + 13 * place) for place, (side, asr) in enumerate(sides)]
        limit = policy.limit_of(kind_of_json(attack.options))[1] if after else None
        rows.append(
            RateRow(
                name=_short(attack.name),
                y=y,
                whiskers=tuple(whiskers),
                limit_x=None if limit is None else _at(limit),
            )
        )
        words.append(f"{attack.name}: {', '.join(f'{rate_words(asr)} {side}' for side, asr in sides)}.")
    bottom = _TOP + _ROW * len(rows)
    return RatesPlot(
        height=bottom + _BOTTOM,
        bottom=bottom,
        rows=tuple(rows),
        ticks=tuple((_at(share / 4), f"{25 * share} %") for share in range(5)),
        gate_x=_at(audit.gate),
        gate=audit.gate,
        words=" ".join(words),
    )


def _whisker(side: str, share: Estimate, y: float) -> Whisker:
    return Whisker(side=side, x=_at(share.value), low=_at(share.low), high=_at(share.high), y=y)


def _at(share: float) -> float:
    inside = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    return round(_LEFT + (_RIGHT - _LEFT) * inside, 2)


def rate_words(share: Estimate) -> str:
    """0.94 % (0.65 to 1.36 %)."""
    return f"{100 * share.value:.2f} % ({100 * share.low:.2f} to {100 * share.high:.2f} %)"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


# ---------------------------------------------------------------- the loss

_LOSS_HEIGHT, _LOSS_LEFT, _LOSS_TOP, _LOSS_BOTTOM = 190, 46, 10, 160
_MAX_POINTS = 250
_STYLES = {"loss": "whole", "loss_clip": "part-a", "distance_image": "part-c", "distance_text": "part-d"}
"""The other parts are "part-b"; no method has two of them."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line; `points` as SVG's polyline takes them."""

    label: str
    style: str
    points: str


@dataclass(frozen=True, kw_only=True)
class LossPlot:
    """The loss against the step; `words` says the same."""

    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    words: str
    width: int = WIDTH
    height: int = _LOSS_HEIGHT
    left: int = _LOSS_LEFT
    right: int = _RIGHT
    top: int = _LOSS_TOP
    bottom: int = _LOSS_BOTTOM


def live_loss(points: Iterable[Sequence[float]], total_steps: int | None) -> LossPlot | None:
    """Of a job that trains, whose last step is `total_steps`; None before there are two points."""
    pairs = [(step, value) for step, value, *_ in points if None not in (step, value)]
    return _loss({"loss": pairs[-_MAX_POINTS:]}, last_step=total_steps)


def loss(curve: Sequence[CurvePoint]) -> LossPlot | None:
    """Of a report: the whole, and the parts that the method has."""
    kept = thinned(curve, _MAX_POINTS)
    lines: dict[str, list[tuple[float, float]]] = {}
    for name in PARTS_OF_LOSS:
        values = [(float(point.step), getattr(point, name)) for point in kept]
        lines[name] = [(step, value) for step, value in values if value is not None]
    return _loss(lines, last_step=None)


_REBOUND_STYLES = ("whole", "part-a", "part-b")


def rebound_curve(figures: ReboundFigures, attacks: Sequence[int]) -> ReboundCurve | None:
    """The curve that holds the highest ASR of the first of these attacks."""
    place = figures.highest[attacks[0]].curve if attacks else 0
    return figures.curves[place] if place < len(figures.curves) else None


def rebound(
    figures: ReboundFigures, attacks: Sequence[int], ordered: ReboundOptions | None
) -> LossPlot | None:
    """ASR in per cent of some attacks along one curve, and of a clean model where it was ordered."""
    curve = rebound_curve(figures, attacks)
    if not attacks or curve is None or len(points := curve.points) < 2:
        return None
    reference: list[tuple[int, float]] = []
    if ordered is not None and ordered.reference_asr:
        reference = list(zip((0, *ordered.steps), ordered.reference_asr, strict=True))
    end = max([point.step for point in points] + [step for step, _ in reference]) or 1
    shares = [point.attacks[number].asr.value for point in points for number in attacks]
    highest = max(shares + [share for _, share in reference])
    y_ticks = _ticks(0.0, max(1.0, 100 * highest))

    def x_at(step: float) -> float:
        return round(_LOSS_LEFT + (_RIGHT - _LOSS_LEFT) * step / end, 1)

    def y_at(percent: float) -> float:
        return round(_LOSS_BOTTOM - (_LOSS_BOTTOM - _LOSS_TOP) * percent / y_ticks[-1], 1)

    told = [figures.highest[number] for number in attacks]
    return LossPlot(
        curves=tuple(
            Curve(
                label=_short(figures.highest[number].attack),
                style=style,
                points=" ".join(
                    f"{x_at(point.step)},{y_at(100 * point.attacks[number].asr.value)}" for point in points
                ),
            )
            for number, style in zip(attacks, _REBOUND_STYLES, strict=False)
        )
        + _reference([(x_at(step), y_at(100 * share)) for step, share in reference]),
        x_ticks=((x_at(0), "0"), (x_at(end / 2), f"{end / 2:,.0f}"), (x_at(end), f"update {end:,}")),
        y_ticks=tuple((y_at(value), f"{value:g} %") for value in y_ticks),
        words=f"At {curve.rate:g} times the rate. Highest of all: "
        + ", ".join(f"{one.attack} {rate_words(one.asr)}" for one in told)
        + "."
        + (f" A clean model, by the order: highest {_highest(reference)}." if reference else ""),
    )


def _reference(points: Sequence[tuple[float, float]]) -> tuple[Curve, ...]:
    drawn = " ".join(f"{x},{y}" for x, y in points)
    return (Curve(label="clean model, by the order", style="part-d", points=drawn),) if points else ()


def _highest(reference: Sequence[tuple[int, float]]) -> str:
    return f"{100 * max(share for _, share in reference):.1f} %"


def _loss(lines: dict[str, list[tuple[float, float]]], last_step: int | None) -> LossPlot | None:
    sound = {
        name: [(step, value) for step, value in points if math.isfinite(step) and abs(value) < 1e9]
        for name, points in lines.items()
    }
    if len(sound["loss"]) < 2:
        return None
    values = [value for points in sound.values() for _, value in points]
    y_ticks = _ticks(min(values), max(values))
    low, high = min(*values, y_ticks[0]), max(*values, y_ticks[-1])
    first, last = sound["loss"][0], sound["loss"][-1]
    x_end = max(last[0], float(last_step or 0), 1.0)

    def x_at(step: float) -> float:
        return round(_LOSS_LEFT + (_RIGHT - _LOSS_LEFT) * min(1.0, max(0.0, step / x_end)), 1)

    def y_at(value: float) -> float:
        return round(_LOSS_BOTTOM - (_LOSS_BOTTOM - _LOSS_TOP) * (value - low) / (high - low), 1)

    return LossPlot(
        curves=tuple(
            Curve(
                label=PARTS_OF_LOSS[name],
                style=_STYLES.get(name, "part-b"),
                points=" ".join(f"{x_at(step)},{y_at(value)}" for step, value in points),
            )
            for name, points in sound.items()
            if len(points) > 1
        ),
        x_ticks=((x_at(0), "0"), (x_at(x_end / 2), f"{x_end / 2:,.0f}"), (x_at(x_end), f"step {x_end:,.0f}")),
        y_ticks=tuple((y_at(value), f"{value:g}") for value in y_ticks),
        words=f"The loss was {first[1]:.3g} at step {first[0]:,.0f}, {last[1]:.3g} at step {last[0]:,.0f}.",
    )


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values that span the range."""
    span = high - low or abs(high) or 1.0
    magnitude = 10 ** math.floor(math.log10(span))
    step = next(magnitude * one for one in (0.25, 0.5, 1, 2.5) if span / (magnitude * one) <= 4)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    return [round(step * number, 12) for number in range(first, last + 1)]
