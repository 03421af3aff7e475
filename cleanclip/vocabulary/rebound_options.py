"""The options of the rebound audit, with bounds. Free of torch; `sanitizer.pipeline.rebound` obeys it."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Interval, Le, MaxLen

from cleanclip.vocabulary.bounds import NOT_EMPTY, NUMBER, STRICT, label

MOST_UPDATES = 20_000
"""Of all rebound trainings of a job together: more than most cleanings take."""
MOST_SHARES = 4_000
"""Of all curves of a report together, one for each attack and point: they take 1 MB of it."""


@dataclass(frozen=True, kw_only=True)
class ReboundOptions:
    """Does the backdoor come back when a customer fine-tunes the cleaned model on clean data?

    A copy of the cleaned model is trained on the clean data of the order, by CLIP's loss (labelled images: by
    cross-entropy), at a constant rate and otherwise as the cleaning was. ASR and CA are measured after 0 and
    after each of `steps` updates. One curve for each rate and seed. The published weights do not change.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    rates: Annotated[
        tuple[Annotated[float, Gt(0), Le(100), NUMBER], ...],
        MaxLen(5),
        *NOT_EMPTY,
        label("Rates", is_advanced=True),
    ] = (1.0,)
    """Learning rates, as multiples of the recipe's `learning_rate`. One curve for each, and for each seed."""
    steps: Annotated[
        tuple[Annotated[int, Interval(ge=1, le=10_000), NUMBER], ...],
        MaxLen(20),
        *NOT_EMPTY,
        label("Steps", "updates", is_advanced=True),
    ] = (10, 50, 100)
    """After how many updates to measure, ascending. Step 0 is always measured; the training ends after the
    last."""
    num_seeds: Annotated[int, Interval(ge=1, le=10), NUMBER, label("Seeds", is_advanced=True)] = 1
    """Orders of the data for each rate: the job's seed, that plus 1, and so on."""
    max_images: Annotated[
        int, Interval(ge=50, le=1_000_000), NUMBER, label("Images measured", "images", is_advanced=True)
    ] = 1000
    """Test images at each measurement, drawn by the seed; all, if there are fewer."""
    reference_asr: Annotated[
        tuple[Annotated[float, Interval(ge=0, le=1), NUMBER], ...],
        MaxLen(21),
        label("ASR of a clean model", "from 0 to 1", is_advanced=True),
    ] = ()
    """ASR of a model that was never poisoned, at step 0 and after each of `steps`, by a report of its own:
    drawn beside the curves. It is the order's word, and judges nothing. Empty: no reference."""
    poisons: Annotated[
        int, Interval(ge=0, le=1000), NUMBER, label("Poisoned samples", "samples", is_advanced=True)
    ] = 0
    """Above 0, relearning is measured too: this many poisoned samples among `relearning_samples`, once with
    the old trigger and once with a fresh one. Two more trainings for each attack that worked before."""
    relearning_samples: Annotated[
        int, Interval(ge=2, le=100_000), NUMBER, label("Samples to relearn from", "samples", is_advanced=True)
    ] = 500
    """Samples of the clean data to which the poisoned samples are added."""

    interpolation_halvings: Annotated[
        int, Interval(ge=0, le=8), NUMBER, label("Halvings of the way back", is_advanced=True)
    ] = 0
    """Over 0: also measure weights between the cleaned and the input model, halving so often towards the
    least share of the way back at which an attack reaches 50 %. It trains nothing."""

    def __post_init__(self) -> None:
        if any(later <= earlier for earlier, later in pairwise(self.steps)):
            raise ValueError("steps must be in ascending order, each once")
        if self.reference_asr and len(self.reference_asr) != 1 + len(self.steps):
            raise ValueError("reference_asr needs a share for step 0 and one for each of steps")
        if len(set(self.rates)) < len(self.rates):
            raise ValueError("rates must differ from each other")
        if self.poisons >= self.relearning_samples:
            raise ValueError("poisons must be fewer than relearning_samples")

    @property
    def num_curves(self) -> int:
        """One for each rate and seed."""
        return len(self.rates) * self.num_seeds

    def num_updates(self, num_attacks: int) -> int:
        """Of all trainings together, at most: as if each of the attacks had worked before the cleaning."""
        num_relearned = 2 * num_attacks if self.poisons else 0
        return (self.num_curves + num_relearned) * self.steps[-1]

    def num_points(self, num_attacks: int) -> int:
        """Measurements of all attacks: step 0 of each curve included, of the interpolation the most."""
        between = 2 + self.interpolation_halvings * num_attacks if self.interpolation_halvings else 0
        return self.num_curves * (1 + len(self.steps)) + between
