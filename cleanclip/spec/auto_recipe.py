"""The order of a ladder: limits and a budget instead of a recipe. Free of torch.

Which recipes the ladder tries stands in `cleanclip.spec.ladder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Gt, Interval, Le

from cleanclip.spec.bounds import NUMBER, STRICT
from cleanclip.spec.finetuning import NAMED


@dataclass(frozen=True, kw_only=True)
class AutoRecipe:
    """A ladder of recipes in a fixed order, until a cleaned model meets the policy on validation images.

    Part of the labelled images becomes the validation set, which alone decides; the others are the test
    images, on which the input model and the chosen one are measured. If no rung meets the policy, the one
    nearest to it is chosen, and the verdict says that the policy is not met. A method of this project, on
    trial: run on small models only.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT | NAMED

    method: Literal["auto"] = "auto"
    version: Literal[1] = 1
    trained_on: Literal["pairs", "images_of_pairs", "labelled_images"] = "pairs"
    """Without captions PAR is left out, with labelled images supervised fine-tuning is added."""
    max_device_minutes: Annotated[float, Gt(0), Le(43_200), NUMBER] | None = None
    """For all rungs together, training and validation. When it is over, the update or measurement in hand is
    finished, and no other begins. The audits are not counted, nor is time in which the job does not run.
    None: until a rung meets the policy or the ladder ends."""
    validation_share: Annotated[float, Interval(ge=0.1, le=0.9), NUMBER] = 0.5
    """Of the labelled images, drawn by the seed. The others are the test images."""

    @property
    def training_data(self) -> Literal["pairs", "labelled"]:
        """The kind of dataset that is trained on."""
        return "labelled" if self.trained_on == "labelled_images" else "pairs"
