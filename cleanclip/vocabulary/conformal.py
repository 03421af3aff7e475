"""How a scan is judged by a null: scores of every detector, ranks in the pool, one p-value. Free of torch:
the process that scans, the supervisor and `cleanclip verify` work it out with this code.

Full conformal: the suspect joins the n models of the null, and everything is computed for each of the n + 1
as if it were the suspect. With s_k(m) the statistics of model m (one for each family or edit):

    z_k(m)  =  (s_k(m) − mean of s_k over the others) / max(std of s_k over the others, floor)
    D(m)    =  max over a detector's k of z_k(m)
    C(m)    =  max over detectors of (D(m) − mean of D over the others) / max(std of D over the others, 1)
    p       =  (1 + #{models of the null: C ≥ C(suspect)}) / (n + 1)

p is valid whatever the statistics are, P(p ≤ a) ≤ a, if a suspect that was never poisoned is exchangeable
with the null's models: z, D and C treat all of the pool alike (Vovk, Gammerman and Shafer, Algorithmic
Learning in a Random World, 2005). Ties count against us: p only grows by them. It is never below 1/(n + 1).

Why distances are combined and not ranks: docs/decisions/0085.

Without a null there is no p: the classes or edits of the one model stand for the pool.

Legend: M models of the pool.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import fmean, median, stdev
from typing import Generic, TypeVar

from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.scan_statistics import ScanStatistics

FLOOR = 0.02
"""Of a standard deviation: shares and collapses that differ by less are equal. So a null without any spread
makes no difference look endless."""
SCORE_FLOOR = 1.0
"""Of a detector's scores: they are distances in standard deviations already."""
DIGITS = 9

Name = TypeVar("Name", bound=str)
"""Of a detector."""

Row = Mapping[str, float]
"""A detector's statistics of one model, each larger the more suspicious, by what they are of."""


@dataclass(frozen=True, kw_only=True)
class Pooled(Generic[Name]):
    """One detector in the pool; the suspect is the last."""

    detector: Name
    what: str
    """The statistic of the suspect with the largest z."""
    score_M: tuple[float, ...]
    z_of: Mapping[str, float]
    """Of each statistic of the suspect."""
    median_of: Mapping[str, float]
    """Of each statistic over the null."""


@dataclass(frozen=True, kw_only=True)
class Judged(Generic[Name]):
    """Every detector, and one p-value."""

    detectors: tuple[Pooled[Name], ...]
    combined_M: tuple[float, ...]
    """C of every model of the pool; the suspect is the last."""
    p_value: float


def rows(statistics: ScanStatistics) -> dict[Detector, Row]:
    """What each detector that was run says of the model."""
    found: dict[Detector, Row] = {}
    if statistics.collapse:
        found["collapse"] = dict(_of_collapse(statistics))
    if statistics.edits is not None:
        found["edits"] = {one.edit.name: one.rise for one in statistics.edits.edits}
    if statistics.residual is not None:
        found["residual"] = {one.edit.name: one.value for one in statistics.residual.edits}
    return found


def _of_collapse(statistics: ScanStatistics) -> Iterator[tuple[str, float]]:
    """Of each family how far its restarts agree on a class; without class names their median collapse at each
    step (docs/decisions/0085)."""
    for one in statistics.collapse:
        if one.agreement is not None:
            yield f"{one.family.name}, agreement", one.agreement
            continue
        for place in range(len(one.restarts[0].values)):
            values = [restart.values[place] for restart in one.restarts]
            yield f"{one.family.name}, collapse {place + 1}", median(values)


def judge(null: Sequence[Mapping[Name, Row]], suspect: Mapping[Name, Row]) -> Judged[Name]:
    """Raises ValueError where the null is empty, or where its models were not measured as the suspect was."""
    if not null:
        raise ValueError("a null needs at least one model")
    if any({name: row.keys() for name, row in one.items()} != _names(suspect) for one in null):
        raise ValueError("the models of the null and the suspect have different statistics")
    pooled = tuple(_pool(detector, [one[detector] for one in null], row) for detector, row in suspect.items())
    combined_M, p_value = combined([one.score_M for one in pooled])
    return Judged(detectors=pooled, combined_M=combined_M, p_value=p_value)


def combined(scores: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], float]:
    """C of every model of the pool, of each detector's scores, and the p-value of the last model. Raises
    ArithmeticError, ValueError where the detectors have no pool in common."""
    apart = [leave_one_out_z(score_M, SCORE_FLOOR) for score_M in scores]
    combined_M = tuple(round(max(of_model), DIGITS) for of_model in zip(*apart, strict=True))
    at_least = sum(one >= combined_M[-1] for one in combined_M[:-1])
    return combined_M, (1 + at_least) / len(combined_M)


def _names(suspect: Mapping[Name, Row]) -> dict[Name, object]:
    return {name: row.keys() for name, row in suspect.items()}


def _pool(detector: Name, null: Sequence[Row], suspect: Row) -> Pooled[Name]:
    value_M_of = {name: [row[name] for row in (*null, suspect)] for name in suspect}
    z_M_of = {name: leave_one_out_z(value_M) for name, value_M in value_M_of.items()}
    score_M = tuple(round(max(of_model), DIGITS) for of_model in zip(*z_M_of.values(), strict=True))
    z_of = {name: z_M[-1] for name, z_M in z_M_of.items()}
    return Pooled(
        detector=detector,
        what=max(z_of, key=z_of.__getitem__),
        score_M=score_M,
        z_of=z_of,
        median_of={name: median(value_M[:-1]) for name, value_M in value_M_of.items()},
    )


def leave_one_out_z(value_M: Sequence[float], floor: float = FLOOR) -> list[float]:
    """Each model's distance from the mean of the others, in their standard deviations.

    Worked out from sums over all, so that ten thousand models take no more than as many steps: with d the
    distance from the mean of all M, the others' mean is M/(M - 1) d away, and the sum of their squares is
    that of all less M/(M - 1) d².
    """
    num = len(value_M)
    mean, more = fmean(value_M), num / (num - 1)
    apart_M = [value - mean for value in value_M]
    squares = fsum(apart * apart for apart in apart_M)
    if num < 3:
        return [more * apart / floor for apart in apart_M]
    return [
        more * apart / max(sqrt(max(0.0, squares - more * apart * apart) / (num - 2)), floor)
        for apart in apart_M
    ]


def distance(one: Pooled[Name], z: float) -> float:
    """How far the suspect's z of one statistic is from the scores of the null's models, as C counts it: so
    patterns of several detectors can be put in an order, of which C(suspect) is the largest."""
    score_M = one.score_M[:-1]
    spread = stdev(score_M) if len(score_M) > 1 else 0.0
    return (z - fmean(score_M)) / max(spread, SCORE_FLOOR)


def z_of_family(
    pooled: Mapping[Name, Pooled[Name]], detector: Name, family: str
) -> tuple[float, float | None]:
    """(z, the null's median of the statistic that a hypothesis shows) of one family's pattern."""
    one = pooled[detector]
    name = f"{family}, agreement" if detector == "collapse" else family
    if name not in one.z_of:  # without class names: the collapse at the last step
        name = [other for other in one.z_of if other.startswith(f"{family}, ")][-1]
    return one.z_of[name], one.median_of[name]
