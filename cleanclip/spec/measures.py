"""The forms of a measured figure: each carries its count and its 95 % interval, and how that was made.

`cleanclip.spec.report` gives these names to the rest; `sanitizer.audits` works them out. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution: two-sided 95 %."""

Count = Annotated[int, Interval(ge=0, le=2**53)]
Ratio = Annotated[float, Interval(ge=0, le=1)]
Signed = Annotated[float, Interval(ge=-1, le=1)]
"""The difference of two ratios."""
Distance = Annotated[float, Interval(ge=0, le=2.001)]
"""By cosine, of float32: rounding may pass 2."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`successes` of `n`; `value` is their ratio; `low`, `high` bound it with 95 % (Wilson score)."""

    value: Ratio
    n: Count
    successes: Count
    low: Ratio
    high: Ratio
    confidence: Ratio = 0.95
    method: Literal["wilson"] = "wilson"

    @property
    def words(self) -> str:
        """ "98.4 % (95 % interval 96.8 to 99.2 %, n = 460)"."""
        low, high = 100 * self.low, 100 * self.high
        return f"{100 * self.value:.1f} % (95 % interval {low:.1f} to {high:.1f} %, n = {self.n})"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Before minus after, same images: `lost` were right before and wrong after, `gained` the reverse. Of an
    attack's success, read "classified as the target" for "right"."""

    value: Signed
    n: Count
    lost: Count
    gained: Count
    low: Signed
    high: Signed
    confidence: Ratio = 0.95
    method: Literal["newcombe_paired"] = "newcombe_paired"


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The share of images of other classes that have the target among their first `k` classes."""

    k: Count
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class RankDistribution:
    """The place of the target among all classes, for images of other classes: 1 is the first, the class that
    the image is given.

    `low`, `high` bound the median with 95 % or more by order statistics, whatever the distribution; of fewer
    than 6 images they are the first and the last place.
    """

    n: Count
    median: Count
    low: Count
    high: Count
    first_quartile: Count
    third_quartile: Count
    confidence: Ratio = 0.95
    method: Literal["order_statistics"] = "order_statistics"


@dataclass(frozen=True, kw_only=True)
class Towards:
    """The class that triggered images go to most, whatever target the order named.

    Both shares are of the images whose true class is another one. An audit after a cleaning takes the class
    of the audit before, so that both sides are about one class.
    """

    class_name: str
    triggered: Estimate
    untriggered: Estimate
    """Of the same images without the trigger."""

    def works(self, gate: float) -> bool:
        """At or over the gate, and more often than the same images go there without the trigger."""
        return self.triggered.value >= gate and self.triggered.low > self.untriggered.high


@dataclass(frozen=True, kw_only=True)
class MeanDistance:
    """The mean cosine distance (1 - cosine, 0 to 2) of `n` embeddings to their counterparts.

    `std` is their standard deviation (n - 1); `low`, `high` bound the mean with 95 % (Student's t).
    """

    mean: Distance
    n: Count
    std: Distance
    low: Distance
    high: Distance
    confidence: Ratio = 0.95
    method: Literal["student_t"] = "student_t"
