"""Dry runs on the wire: what an order would do, how long that took before, and what would go wrong."""

from typing import Literal

from pydantic import Field

from app.schemas.common import WireOut
from app.schemas.jobs import KindName, PhaseName
from cleanclip.kinds.phase import Unit
from cleanclip.vocabulary.device_plan import DevicePlan
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.recommended import RecipeSource


class SpanOut(WireOut):
    """Seconds that `num_jobs` earlier jobs took for as much work, from the fastest to the slowest of them.

    0 jobs: an estimate by a table that is shipped, of two cores of a processor without and with AMX.
    """

    low_s: float
    high_s: float
    num_jobs: int


class PhaseAheadOut(WireOut):
    """What a phase would do. `amount` null: not known; `time` null: nothing tells how long."""

    name: PhaseName
    does: str = Field(description="One sentence for people.")
    amount: int | None
    unit: Unit = Field(
        description="What the time is proportional to: `images` or `texts` that pass through a model, "
        "`samples` trained on, or `passes` of an image forward and backward."
    )
    time: SpanOut | None


class ObstacleOut(WireOut):
    """Why the order would be refused, or its job fail; `pointer` into the order where a value is to blame."""

    code: str
    detail: str
    remedy: str
    pointer: str | None


class DryRunOut(WireOut):
    """Nothing was ordered. Times are those of earlier jobs of the project with the same architecture, on
    whatever machine ran them, else estimates; waiting for a worker is not in them.
    """

    object: Literal["dry_run"] = "dry_run"
    kind: KindName
    recipe: Recipe | None = Field(
        description="With the values that the job would take. Null where there is none."
    )
    recipe_source: RecipeSource | None = Field(
        description="Where these values are from. Nothing is recommended for a checkpoint that is not named."
    )
    plan: DevicePlan | None = Field(
        description="What the job needs of a GPU, by arithmetic. Null for a model that is not known, "
        "and for an image tower of timm's, as a warning says."
    )
    phases: list[PhaseAheadOut]
    time: SpanOut | None = Field(description="The sum over all phases whose time is known; null if none is.")
    obstacles: list[ObstacleOut] = Field(description="Empty: the order would be accepted.")
    warnings: list[str] = Field(description="What the job would warn about.")
