"""How the settings of an architecture that no tensor tells were settled: what a report says. Free of torch.

A head count and an activation change no shape, so a file is read without an error under the wrong ones, and
every figure of the audit is then that of another model. `cleanclip.vocabulary.report` gives these names on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from cleanclip.vocabulary.inspection_phrases import BEST_OF, OTHER_SIDES, RELEASED_BOTH, Option, Value, Why
from cleanclip.vocabulary.measures import AS_WRITTEN, Count, Estimate, derived

Settled = Literal["tensors", "declared", "configuration", "measured", "published", "assumed"]
"""By what a setting is known: a tensor's shape, its owner, a configuration file beside the weights, the
images of the audit, a published model of exactly this shape where the images leave several values, or by
nothing: then it is the default of published models, and there were too few images to compare."""


COMPARED = ("num_heads_vision", "num_heads_text", "quick_gelu")
"""The options whose values are compared on images."""

MIN_IMAGES = 128
"""Of fewer the corrected interval of a mean cannot be relied on, and no verdict could be either."""
MIN_MARGIN = 0.05
"""Nats an image: the true class five percent more probable. On images unlike those of the training a wrong
value can have the larger mean: 0.02 more on development models of decision 0076."""
ALPHA = 0.05
"""Of both tails, divided among all comparisons: the share of jobs, at most, with an interval that misses."""
FIRST_LOOKS = (256, 1_024)


def looks(num_images: int) -> tuple[int, ...]:
    """How many images each look at the figures has seen: a few, four times as many, then all."""
    return (*(size for size in FIRST_LOOKS if size < num_images), num_images)


@dataclass(frozen=True, kw_only=True)
class SettingFigures:
    """One value of a setting on the images of the measurement, the other settings being those chosen.

    `log_likelihood` is the mean over the images of the logarithm of the probability of the true class, in
    nats, at the temperature that suits the value best.
    """

    value: Value
    log_likelihood: float
    ca: Estimate


@AS_WRITTEN
@dataclass(frozen=True, kw_only=True)
class Margin:
    """The mean over the same `n` images of the log-likelihood of the value chosen minus the runner-up's.

    `low`, `high` bound it by the normal distribution, evenly; `confidence` is divided among the comparisons
    of all planned looks.
    """

    n: int
    low: float
    high: float

    @derived
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @derived
    def confidence(self) -> float:
        return 1 - ALPHA

    @derived
    def method(self) -> Literal["paired_normal_bonferroni"]:
        return "paired_normal_bonferroni"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One option of `declared`: its value and how it is known; `why` is a part of a sentence.

    `chosen`, `runner_up` and `margin` are set if values were compared on images.
    """

    option: Option
    value: Value
    settled: Settled
    why: Why
    chosen: SettingFigures | None = None
    runner_up: SettingFigures | None = None
    margin: Margin | None = None

    @property
    def usual(self) -> str:
        """The value as the checkpoint was read: the first of those that a measurement chose from."""
        if self.settled != "measured":
            return self.value
        return self.why.removeprefix(BEST_OF.before).partition(";")[0].partition(",")[0]

    @property
    def known_by(self) -> str:
        """'measured: the best of 1, 4, 2. Mean log-likelihood -0.474 against -1.320 with 2 (margin …)'."""
        return ". ".join(filter(None, (f"{self.settled}: {self.why}", self.comparison)))

    @property
    def comparison(self) -> str:
        """'Mean log-likelihood -0.474 against -1.320 with 2 (margin …)'; empty where nothing was compared."""
        if self.chosen is None or self.runner_up is None or self.margin is None:
            return ""
        chosen, other, margin = self.chosen, self.runner_up, self.margin
        interval = f"interval {margin.low:.3f} to {margin.high:.3f}, n = {margin.n}"
        return (
            f"Mean log-likelihood {chosen.log_likelihood:.3f} against {other.log_likelihood:.3f} "
            f"with {other.value} (margin {margin.mean:.3f}, {interval}), CA {100 * chosen.ca.value:.1f} % "
            f"against {100 * other.ca.value:.1f} %"
        )


@dataclass(frozen=True, kw_only=True)
class SettledArchitecture:
    """Every setting that tensors do not say, and how the measurable ones were measured.

    `n` images (0: none were compared), drawn by `seed`, among `num_classes` classes with `num_templates`
    templates; `num_compared` combinations of values, by `num_image_passes` passes of the first images and
    `num_text_passes` of the texts. Combinations that others beat were left out of later looks. `chance` is
    the accuracy that guessing would have on these images.
    """

    n: Count
    seed: int
    num_classes: Count
    num_templates: Count
    num_compared: Count
    num_image_passes: Count
    num_text_passes: Count
    ca: Estimate | None
    chance: float | None
    settings: tuple[Setting, ...]

    def values(self) -> dict[str, str]:
        """Of each measurable option; heads of the image tower are missing where it has none.

        Raises ValueError where another one is missing, or one comes twice.
        """
        found = [one for one in self.settings if one.option in COMPARED]
        values = {one.option: one.value for one in found}
        if len(values) != len(found) or set(COMPARED) - values.keys() - {"num_heads_vision"}:
            raise ValueError("not every measurable setting is settled once")
        return values

    def as_assumed(self) -> dict[str, str]:
        """As an inspection words it: option → value, and by what it is known."""
        return {one.option: f"{one.value}: {one.settled}, {one.why}" for one in self.settings}


def read_assumed(words: str) -> tuple[str, str]:
    """Value and reason of a setting, of an inspection's words or of `SettledArchitecture.as_assumed`."""
    value, _, why = words.partition(": ")
    settled, _, reason = why.partition(", ")
    return value, reason if settled in get_args(Settled) else why


def warnings(architecture: SettledArchitecture) -> Iterator[str]:
    """Sentences on settings that are not as the checkpoint was read, or are not known.

    They refer to no section: the report of a scan repeats them, and has none on the architecture.
    """
    unknown = []
    for setting in architecture.settings:
        option = setting.option
        if option not in COMPARED:
            if setting.why.startswith((RELEASED_BOTH.before, OTHER_SIDES.before)):
                yield f"{option} is {setting.value}, {setting.why}. Declare it if the model is one of these."
        elif setting.settled == "published":
            yield f"{option} is {setting.value}, {setting.why}. {setting.comparison}."
        elif setting.value != setting.usual:
            yield (
                f"{option} is {setting.value} by measurement on {architecture.n} images, not "
                f"{setting.usual} as usual. {setting.comparison}."
            )
        elif setting.settled == "assumed":
            unknown.append(option)
    if unknown:
        yield (
            f"{', '.join(unknown)}: assumed, not measured, for which {MIN_IMAGES} labelled images of two "
            "classes or more are needed. If one is wrong, every figure is."
        )
