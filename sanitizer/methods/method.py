"""What training needs to know of a method, whatever its formula.

Legend: N pairs of the whole batch, D embedding width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from cleanclip.vocabulary.uar_recipe import Stage


@dataclass(frozen=True)
class Losses:
    """Scalars: what is differentiated, and its parts by their name in `vocabulary.report.CurvePoint`."""

    total: Tensor
    parts: Mapping[str, Tensor]


Objective = Callable[[Sequence[Tensor], Tensor], Losses]
"""(unit embeddings [N, D] each, logit scale) → losses. The scale is the multiplier, 1/tau.

The embeddings are those of images and captions; then of their augmented views, where the method has them;
then what the model that came in makes of the same images and captions, where the method asks for it. A method
of labels is given those of the images, their class numbers [N], and the embeddings of the classes [C, D]; one
with a teacher those of the images, those of captions with words inserted if it has them, the teacher's of the
images, and those of the captions if it reads them.
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
    trains_text: bool = True
    """False: only the image tower is trained; captions, if any, are embedded without gradient."""
    inserts_words: bool = False
    """The text tower is trained beside the image tower, on captions with words inserted
    (`PairBatch.tokens_view_NL`), and no gradient of one tower depends on the other."""
    reads_captions: bool = True
    has_labels: bool = False
    """The data are labelled images; no caption is embedded."""
    has_teacher: bool = False
    """The image tower that came in embeds the batch's clean images, without gradient."""
    has_input_model: bool = False
    """A frozen copy of the model that came in embeds the same batch, without gradient."""
    warmup_steps: Callable[[int], int]
    """Number of the run's updates → those of its warm-up."""
    initial_rate: float = 0.0
    """The learning rate at which the warm-up starts."""
    stages: tuple[Stage, ...] = ()
    """Parts of the run, in order, each with a warm-up and a cosine of its own. None: the run is one."""
