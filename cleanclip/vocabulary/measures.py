"""The forms of a measured figure: what was counted, and what follows from it.

Fields are counted or drawn; what is `derived` follows from them wherever it is read, and stands in JSON for
readers without this code. Free of torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Interval
from pydantic import ConfigDict, computed_field, with_config

from cleanclip.vocabulary import intervals

T = TypeVar("T")
Count = Annotated[int, Interval(ge=0, le=2**53)]
Ratio = Annotated[float, Interval(ge=0, le=1)]
Signed = Annotated[float, Interval(ge=-1, le=1)]
"""The difference of two ratios."""
Distance = Annotated[float, Interval(ge=0, le=2.001)]
"""By cosine, of float32: rounding may pass 2."""
AS_WRITTEN = with_config(ConfigDict(extra="ignore"))
"""Of what has derived parts: reading passes over them, `strict_json.load_written` compares them."""


def derived(work_out: Callable[[Any], T]) -> cached_property[T]:
    """A property that follows from fields, and is written into JSON beside them."""
    return computed_field(cached_property(work_out))


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`successes` of `n`; `value` is their ratio; `low`, `high` bound it with 95 % (Wilson score)."""

    n: Count
    successes: Count

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.n:
            raise ValueError(f"counts {self.successes} successes of {self.n}")

    @derived
    def value(self) -> Ratio:
        return self.successes / self.n if self.n else 0.0

    @derived
    def low(self) -> Ratio:
        return self._bounds[0]

    @derived
    def high(self) -> Ratio:
        return self._bounds[1]

    @derived
    def confidence(self) -> Ratio:
        return 0.95

    @derived
    def method(self) -> Literal["wilson"]:
        return "wilson"

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        return intervals.wilson(self.successes, self.n)

    @property
    def words(self) -> str:
        """ "98.4 % (95 % interval 96.8 to 99.2 %, n = 460)"."""
        low, high = 100 * self.low, 100 * self.high
        return f"{100 * self.value:.1f} % (95 % interval {low:.1f} to {high:.1f} %, n = {self.n})"


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Difference:
    """Before minus after, same images: `both` were right twice, `lost` before alone, `gained` after alone. Of
    an attack's success, read "classified as the target" for "right"."""

    n: Count
    both: Count
    lost: Count
    gained: Count

    def __post_init__(self) -> None:
        if not 0 <= self.both + self.lost + self.gained <= self.n or self.n == 0:
            raise ValueError("counts an image twice, or none at all")

    @derived
    def value(self) -> Signed:
        return (self.lost - self.gained) / self.n

    @derived
    def low(self) -> Signed:
        return self._bounds[0]

    @derived
    def high(self) -> Signed:
        return self._bounds[1]

    @derived
    def confidence(self) -> Ratio:
        return 0.95

    @derived
    def method(self) -> Literal["newcombe_paired"]:
        return "newcombe_paired"

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        neither = self.n - self.both - self.lost - self.gained
        return intervals.newcombe(both=self.both, lost=self.lost, gained=self.gained, neither=neither)

    def leads(self, before: Estimate, after: Estimate) -> bool:
        """Whether it is that of these two shares."""
        counted = (self.n, self.both + self.lost, self.n, self.both + self.gained)
        return counted == (before.n, before.successes, after.n, after.successes)


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The share of images of other classes that have the target among their first `k` classes."""

    k: Count
    share: Estimate


@AS_WRITTEN
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

    @derived
    def confidence(self) -> Ratio:
        return 0.95

    @derived
    def method(self) -> Literal["order_statistics"]:
        return "order_statistics"


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


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class MeanDistance:
    """The mean cosine distance (1 - cosine, 0 to 2) of `n` embeddings to their counterparts.

    `std` is their standard deviation (n - 1); `low`, `high` bound the mean with 95 % (Student's t).
    """

    mean: Distance
    n: Count
    std: Distance

    def __post_init__(self) -> None:
        # Of n values from 0 to 2 with this mean none spread more than those that are all 0 or 2.
        widest = math.sqrt(max(0.0, self.mean * (2 - self.mean)) * self.n / max(1, self.n - 1))
        if self.n == 0 or self.std > widest + 1e-7:
            raise ValueError(f"says that {self.n} distances of mean {self.mean:g} deviate by {self.std:g}")

    @derived
    def low(self) -> Distance:
        return self._bounds[0]

    @derived
    def high(self) -> Distance:
        return self._bounds[1]

    @derived
    def confidence(self) -> Ratio:
        return 0.95

    @derived
    def method(self) -> Literal["student_t"]:
        return "student_t"

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        return intervals.student(self.mean, self.std, self.n)
