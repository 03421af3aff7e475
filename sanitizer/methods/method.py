"""What training needs to know of a method, whatever its formula. Knows no model, device or data.

Legend: N pairs of the whole batch, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """Scalars: what is differentiated, and its parts by their name in `cleanclip.spec.report.CurvePoint`."""

    total: Tensor
    parts: Mapping[str, Tensor]


Objective = Callable[[Sequence[Tensor], Tensor], Losses]
"""(unit embeddings [N, D] each, logit scale) → losses. The scale is the multiplier, 1/tau.

The embeddings are those of images and captions; then of their augmented views, where the method has them;
then what the model that came in makes of the same images and captions, where the method asks for it. A method
of labels is given those of the images, their class numbers [N], and the embeddings of the classes [C, D].
"""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One recipe's objective with its weights filled in, and what it is computed from."""

    objective: Objective
    parts: tuple[str, ...]
    """The names of `Losses.parts`, in a fixed order."""
    chance_loss: Callable[[int], float]
    """Number of candidates (the batch's, or the classes) → the objective where all embeddings are alike, for
    the watch over divergence."""
    watched_part: str | None = None
    """The part of the objective that `chance_loss` is of; None: the whole."""
    has_views: bool = False
    """An augmented view of each image and caption passes through the towers too."""
    has_labels: bool = False
    """The data are labelled images; no caption is embedded and only the image tower is trained."""
    has_input_model: bool = False
    """A frozen copy of the model that came in embeds the same batch, without gradient."""
    warmup_steps: Callable[[int], int]
    """Number of the run's updates → those of its warm-up."""
    initial_rate: float = 0.0
    """The learning rate at which the warm-up starts."""
