"""The rebound as it stands in a page: rows of figures, and words. Computes nothing but "100 times"."""

from dataclasses import dataclass

from cleanclip.face.table_rows import Share
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.rebound_figures import HighestASR, Relearning
from cleanclip.vocabulary.report import MOST_ATTACKS_IN_FRONT, Report
from cleanclip.vocabulary.untrusted import name

_MOST_CURVES = 6


@dataclass(frozen=True, kw_only=True)
class Highest:
    """The highest ASR of one attack, where it was, and what the verdict says of it."""

    title: str
    path: str
    reported: HighestASR
    share: Share
    outcome: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PointRow:
    """One measurement: ASR of an attack, the same without its trigger, and clean accuracy."""

    step: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, kw_only=True)
class CurveTable:
    """One attack on one curve."""

    title: str
    area: float
    area_path: str
    rows: tuple[PointRow, ...]


@dataclass(frozen=True, kw_only=True)
class RelearnedRow:
    """Updates to 50 % of an old trigger and of a fresh one, in words."""

    title: str
    old: str
    fresh: str
    ratio: str


@dataclass(frozen=True, kw_only=True)
class WayBackRow:
    """The least share of the way back with an ASR of 50 %, in words, and what was measured there; where none
    has it, of the input model."""

    title: str
    least: str
    shares: tuple[Share, ...]


def highest(report: Report) -> list[Highest]:
    """Of every attack; empty where no rebound was measured."""
    rebound = report.rebound
    return [
        Highest(
            title=name(one.attack),
            path=f"rebound.highest.{number}",
            reported=one,
            share=Share(path=f"rebound.highest.{number}.asr", estimate=one.asr),
            outcome=judged.outcome,
            reason=judged.reason,
        )
        for number, (one, judged) in enumerate(
            zip(rebound.highest if rebound else (), report.verdict.rebound, strict=True)
        )
    ]


def tables(report: Report) -> list[CurveTable]:
    """Of the worst attacks on the first curves; report.json has all."""
    found = []
    for number, curve in enumerate(report.rebound.curves[:_MOST_CURVES] if report.rebound else ()):
        for attack in report.worst_attacks(MOST_ATTACKS_IN_FRONT):
            assert report.recipe is not None, "a rebound belongs to a cleaning"
            place = f"rebound.curves.{number}"
            rows = [
                PointRow(
                    step=point.step,
                    shares=(
                        _share(f"{place}.points.{at}.attacks.{attack}.asr", point.attacks[attack].asr),
                        _share(
                            f"{place}.points.{at}.attacks.{attack}.untriggered_target_rate",
                            point.attacks[attack].untriggered_target_rate,
                        ),
                        _share(f"{place}.points.{at}.ca", point.ca),
                    ),
                )
                for at, point in enumerate(curve.points)
            ]
            title = f"{name(report.before.attacks[attack].name)}, {curve.rate:g} times the cleaning's rate"
            found.append(
                CurveTable(
                    title=f"{title} ({curve.rate * report.recipe.learning_rate:.3g}), seed {curve.seed}",
                    area=curve.areas[attack],
                    area_path=f"{place}.areas.{attack}",
                    rows=tuple(rows),
                )
            )
    return found


def relearned(report: Report) -> list[RelearnedRow]:
    """Empty where relearning was not measured."""
    return [
        RelearnedRow(
            title=name(one.attack),
            old=_updates(one.old),
            fresh="no such trigger" if one.fresh is None else _updates(one.fresh),
            ratio="not known" if one.ratio is None else f"{one.ratio:.2f}",
        )
        for one in (report.rebound.relearned if report.rebound else ())
    ]


def way_back(report: Report) -> list[WayBackRow]:
    """Empty where the weights between were not measured."""
    found = report.rebound.interpolation if report.rebound else None
    if found is None:
        return []
    rows = []
    for number, (attack, least) in enumerate(zip(report.before.attacks, found.to_half, strict=True)):
        at = next((at for at, one in enumerate(found.points) if one.share == least), len(found.points) - 1)
        place, point = f"rebound.interpolation.points.{at}", found.points[at]
        shares = (
            _share(f"{place}.attacks.{number}.asr", point.attacks[number].asr),
            _share(f"{place}.ca", point.ca),
        )
        reported = "not reached" if least is None else f"{least:.3g}"
        rows.append(WayBackRow(title=name(attack.name), least=reported, shares=shares))
    return rows


def _share(path: str, estimate: Estimate) -> Share:
    return Share(path=path, estimate=estimate)


def _updates(reported: Relearning) -> str:
    if reported.updates_to_half is None:
        last = reported.points[-1]
        return f"not within {last.step} (ASR {100 * last.asr.value:.2f} %, n = {last.asr.n})"
    return f"{reported.updates_to_half:.1f}"
