"""The options of `vet`, with bounds. Free of torch; `sanitizer.vetting` obeys them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Gt, Interval, Le, MaxLen

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.bounds import NUMBER, STRICT, Share, label

ScoreName = Literal[
    "local_density", "disagreement", "residual", "trigger_direction", "mismatch", "sensitivity"
]
SCORE_NAMES: tuple[ScoreName, ...] = get_args(ScoreName)

MOST_SHOWN = 48
"""Of the worst samples, on the page: each image has at most 32 KiB in base64."""
Coordinate = Annotated[float, Interval(ge=-1e6, le=1e6), NUMBER]


@dataclass(frozen=True, kw_only=True)
class VetOptions:
    """Which samples look poisoned? Each score that can be computed gives every sample a number; the worst
    `share` is set aside."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    share: Annotated[float, Gt(0), Le(0.5), NUMBER, label("Share to set aside")] = 0.05
    """Share of the good samples that is set aside."""
    scores: Annotated[tuple[ScoreName, ...], MaxLen(len(SCORE_NAMES))] | None = None
    """None: all whose inputs are given, except `sensitivity`, which takes nine times as long."""
    neighbours: Annotated[int, Interval(ge=2, le=256), NUMBER] = 16
    """k of `local_density`. Where k or more poisons are in one batch they hide each other."""
    batch_size: Annotated[int, Interval(ge=32, le=8192), NUMBER] = 1024
    """Samples among which `local_density` looks for neighbours, drawn by the seed."""
    max_trusted: Annotated[int, Interval(ge=40, le=100_000), NUMBER] = 2000
    """Trusted samples that are used, drawn by the seed: half to fit, half to calibrate."""
    triggers: Annotated[tuple[AttackOptions, ...], MaxLen(32)] = ()
    """Triggers that a scan found or that you suspect, as an audit names them: for `trigger_direction`."""
    directions: Annotated[tuple[Annotated[tuple[Coordinate, ...], MaxLen(8192)], ...], MaxLen(32)] = ()
    """The same as vectors in the space of the model's embeddings, of any length."""
    max_skipped_share: Share = 0.01
    """Bad samples above this share of the set are refused."""
    num_shown: Annotated[int, Ge(0), Le(MOST_SHOWN), NUMBER] = 24
    """Of the worst samples, in the report and on its page with image and caption."""

    def __post_init__(self) -> None:
        if self.scores is not None and len(set(self.scores)) < len(self.scores):
            raise ValueError("scores must differ from each other")
        if self.scores is not None and not self.scores:
            raise ValueError("scores must name at least one")
        if any(not any(direction) for direction in self.directions):
            raise ValueError("a direction must not be all zeros")
        if self.batch_size < 2 * self.neighbours:
            raise ValueError("batch_size must be at least twice neighbours")
