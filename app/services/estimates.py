"""How long a phase takes, by what earlier jobs took for as much. Plain arithmetic: asks no database.

An estimate is what earlier jobs took for one unit of the same work, times the units of this one: the fastest
of them gives the lower end, the slowest the upper. Where there is none, a table says what two cores of a
processor take (`shipped_span`). A scan also takes a time that does not grow with its passes (it embeds 20,000
words): only scans of similar size tell of one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cleanclip.kinds.phase import Unit
from cleanclip.vocabulary.recipe import AuditPrecision

_SIMILAR = 4
"""So many times larger or smaller is a scan that tells how long another takes."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A phase of an earlier job: how long it took for how much."""

    job_id: str
    unit: Unit
    method: str | None
    """Of a fine-tuning; other phases take as long whatever the method is."""
    precision: AuditPrecision = "fp32"
    """Of an audit or a scan."""
    seconds: float
    amount: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """Seconds, from the fastest to the slowest of `num_jobs` earlier jobs; 0: of the shipped table."""

    low_s: float
    high_s: float
    num_jobs: int


def span_of(
    amount: int | None,
    unit: Unit,
    method: str | None,
    measured: Sequence[Measured],
    *,
    precision: AuditPrecision = "fp32",
) -> Span | None:
    """None where the amount is not known or nothing was measured.

    How much of a scan's time grows with its passes is not known: the ends are as if none and as if all did.
    """
    alike = [
        one
        for one in measured
        if (one.unit == unit and one.amount > 0)
        and (unit != "samples" or one.method == method)
        and (unit not in {"images", "passes"} or one.precision == precision)
    ]
    if amount is not None and unit == "passes":
        alike = [one for one in alike if amount / _SIMILAR <= one.amount <= amount * _SIMILAR]
    if amount is None or not alike:
        return None
    seconds = [one.seconds / one.amount * amount for one in alike]
    if unit == "passes":
        seconds += [one.seconds for one in alike]
    return Span(low_s=min(seconds), high_s=max(seconds), num_jobs=len({one.job_id for one in alike}))


_S_FIXED = (0.0005, 0.003)
"""To decode and move an image, at least and at most."""
_GFLOPS = (450.0, 40.0)
"""Of two cores: with AMX, and without. A test holds the table to docs/performance.md."""


def shipped_span(num_images: int | None, flop: float | None) -> Span | None:
    """What two cores of a processor take, by the table that is shipped; `num_jobs` 0. A GPU takes less."""
    if num_images is None or flop is None:
        return None
    low_s, high_s = (
        num_images * fixed_s + flop / 1e9 / rate for fixed_s, rate in zip(_S_FIXED, _GFLOPS, strict=True)
    )
    return Span(low_s=low_s, high_s=high_s, num_jobs=0)


def sum_of(spans: Iterable[Span | None]) -> Span | None:
    """Of all that are known; None where none is. As many jobs as the least known phase has."""
    known = [span for span in spans if span is not None]
    if not known:
        return None
    return Span(
        low_s=sum(span.low_s for span in known),
        high_s=sum(span.high_s for span in known),
        num_jobs=min(span.num_jobs for span in known),
    )
