"""Values of recipes for a family and size of model, each with its source; where a recipe's defaults are from.

One rule for the service, the command and `python -m sanitizer`: an option that an order leaves out has the
value that is recommended for its method and model, else the method's default (decision 0095). What nobody
published and nobody measured here is not in the table. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cleanclip.vocabulary.recipe import Recipe

Family = Literal["ModifiedResNet", "VisionTransformer"]
Size = Literal["small", "full"]
Model = tuple[Family, Size | None]
"""Size None: between small and full."""

SMALL_AT_MOST = 10_000_000
"""Parameters. The project's test subjects have 4 to 5 million, most of them the table of tokens."""
FULL_AT_LEAST = 50_000_000
"""The smallest model of a source, CLIP's RN50, has 102 million. Of what lies between nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Options that a source names for models of these families and this size, and the data it was run on.

    `kind` "measured": on this project's test subjects, which are small; a few runs, so for orientation.
    """

    method: Literal["cleanclip", "par", "supervised", "uar"]
    families: tuple[Family, ...]
    size: Size
    values: Mapping[str, Any]
    num_samples: int
    """Clean pairs; for a method of labels, labelled images."""
    kind: Literal["published", "measured"]
    source: str


_PAR_SMALL = {
    "learning_rate": 3e-4,
    "initial_learning_rate": 1e-3,
    "push_share": 0.5,
    "threshold": 2.15,
    "epochs": 6,
    "batch_size": 64,
}
_UAR_SMALL = {
    "learning_rate": 5e-4,
    "epochs": 5,
    "strong_epochs": 2,
    "batch_size": 64,
    "warmup_steps": 50,
    "consistency_weight": 5.0,
}
_UAR_SOURCE = "docs/uar.md: frozen before its final evaluation on test subjects of 32 pixels"
RECOMMENDATIONS: tuple[Recommendation, ...] = (
    Recommendation(
        method="cleanclip",
        families=("ModifiedResNet",),
        size="full",
        values={
            "learning_rate": 1e-5,
            "epochs": 10,
            "batch_size": 64,
            "warmup_steps": 50,
            "lambda1": 1.0,
            "lambda2": 1.0,
        },
        num_samples=100_000,
        kind="published",
        source="CleanCLIP (arXiv 2303.03323) and the README of its code, for an RN50",
    ),
    Recommendation(
        method="cleanclip",
        families=("VisionTransformer",),
        size="full",
        values={"learning_rate": 5e-6, "epochs": 10, "batch_size": 64},
        num_samples=250_000,
        kind="published",
        source="CleanCLIP as RVPT (arXiv 2412.20392) ran it on OpenAI's ViT-B/32, with 3e-6 against WaNet",
    ),
    Recommendation(
        method="par",
        families=("ModifiedResNet", "VisionTransformer"),
        size="full",
        values={
            "learning_rate": 3e-6,
            "initial_learning_rate": 3e-5,
            "push_share": 0.5,
            "threshold": 2.15,
            "epochs": 10,
            "batch_size": 256,
            "weight_decay": 1e-4,
            "beta2": 0.98,
        },
        num_samples=250_000,
        kind="published",
        source="PAR's published program (arXiv 2412.00727), on four devices, each with this batch; "
        "its threshold was chosen on an RN50",
    ),
    Recommendation(
        method="supervised",
        families=("ModifiedResNet",),
        size="full",
        values={
            "learning_rate": 1e-4,
            "epochs": 10,
            "batch_size": 80,
            "warmup_steps": 500,
            "weight_decay": 0.01,
        },
        num_samples=50_000,
        kind="published",
        source="the supervised baseline of CleanCLIP (arXiv 2303.03323) as its README and code have it, for "
        "an RN50 and ImageNet",
    ),
    Recommendation(
        method="cleanclip",
        families=("ModifiedResNet",),
        size="small",
        values={"learning_rate": 1e-4, "epochs": 4, "batch_size": 64, "warmup_steps": 50},
        num_samples=8_000,
        kind="measured",
        source="docs/start/demo.md: three test subjects of 32 pixels, BadNet",
    ),
    Recommendation(
        method="par",
        families=("ModifiedResNet",),
        size="small",
        values=_PAR_SMALL,
        num_samples=8_000,
        kind="measured",
        source="docs/decisions/0053: one run on a test subject of 32 pixels, BadNet",
    ),
    Recommendation(
        method="par",
        families=("VisionTransformer",),
        size="small",
        values=_PAR_SMALL,
        num_samples=8_000,
        kind="measured",
        source="docs/reproduction.md: stripes, triangles and text on nine test subjects of 32 pixels, "
        "which lost 6 points of clean accuracy",
    ),
    Recommendation(
        method="supervised",
        families=("ModifiedResNet",),
        size="small",
        values={"learning_rate": 1e-3, "epochs": 12, "batch_size": 64, "warmup_steps": 50},
        num_samples=3_000,
        kind="measured",
        source="docs/decisions/0054: one run on a test subject of 32 pixels, BadNet",
    ),
    Recommendation(
        method="uar",
        families=("ModifiedResNet",),
        size="small",
        values={**_UAR_SMALL, "kept_change": 0.8},
        num_samples=8_000,
        kind="measured",
        source=_UAR_SOURCE,
    ),
    Recommendation(
        method="uar",
        families=("VisionTransformer",),
        size="small",
        values=_UAR_SMALL,
        num_samples=8_000,
        kind="measured",
        source=_UAR_SOURCE,
    ),
)


def size_of(num_parameters: int) -> Size | None:
    """None between the two."""
    if num_parameters <= SMALL_AT_MOST:
        return "small"
    return "full" if num_parameters >= FULL_AT_LEAST else None


def recommended(method: str, family: Family, size: Size | None) -> Recommendation | None:
    """What there is for such a model."""
    for one in RECOMMENDATIONS:
        if one.method == method and family in one.families and one.size == size:
            return one
    return None


def model_of(inspection: Mapping[str, Any]) -> Model | None:
    """Family and size, by what an inspection wrote or a checkpoint's answer says; None where it does not."""
    num_parameters = inspection.get("num_parameters")
    if not isinstance(num_parameters, int):
        return None
    vision = ((inspection.get("architecture") or {}).get("model_cfg") or {}).get("vision_cfg") or {}
    name = str(inspection.get("architecture_name", ""))
    # open_clip's form: the layers of a ModifiedResNet are a list, one number for each stage
    is_resnet = isinstance(vision.get("layers"), list) or name.startswith(("ModifiedResNet", "RN"))
    return ("ModifiedResNet" if is_resnet else "VisionTransformer"), size_of(num_parameters)


def model_name(family: Family, size: Size | None) -> str:
    """For sentences: "small-size ModifiedResNet"."""
    return f"{size or 'medium'}-size {family}"


NOBODYS = "this project's own choice: nobody has run the method on a full-size model"
"""Where the defaults of a method are from that no source covers."""


def methods_for(family: Family, size: Size | None) -> tuple[str, ...]:
    """Methods that have recommended values for such a model."""
    return tuple(one.method for one in RECOMMENDATIONS if family in one.families and one.size == size)


@dataclass(frozen=True, kw_only=True)
class RecipeSource:
    """Where the values of a recipe came from."""

    given: tuple[str, ...]
    """Options that the order gave."""
    recommended: tuple[str, ...]
    """Options that it left out and that have the values recommended for such a model."""
    recommended_from: str | None
    """The source of those values; None where there are none."""
    defaults_from: str
    """The source of the method's defaults, which all others have. What it does not name is this service's own
    choice."""
    named_there: tuple[str, ...]
    """Options that are defaults and that this source names."""

    @classmethod
    def of(cls, recipe: Recipe, given: Sequence[str], model: Model | None) -> RecipeSource:
        """The defaults are those published for a full-size ModifiedResNet, where the method was run on one: a
        test holds them to it. `model` None: not known, and nothing is recommended."""
        given_names = sorted({*given} - {"method", "version"})
        source = None if model is None else recommended(recipe.method, *model)
        taken = () if source is None else _left_out(recipe, given_names, source)
        published = recommended(recipe.method, "ModifiedResNet", "full")
        return cls(
            given=tuple(given_names),
            recommended=taken,
            recommended_from=f"{source.kind}; {source.source}" if source and taken else None,
            defaults_from=NOBODYS if published is None else published.source,
            named_there=tuple(
                name
                for name in (published.values if published else ())
                if name not in given_names and name not in taken
            ),
        )

    def sentences(self, recipe: Recipe) -> str:
        """For people, with the recommended values."""
        given = ", ".join(self.given) or "no option"
        values = ", ".join(f"{name} {getattr(recipe, name):g}" for name in self.recommended)
        recommended = f" Recommended for such a model: {values} ({self.recommended_from})." if values else ""
        named = f"; {', '.join(self.named_there)} as in {self.defaults_from}" if self.named_there else ""
        return f"The order gave {given}.{recommended} All others are the method's defaults{named}."


def _left_out(recipe: Recipe, given: Sequence[str], source: Recommendation) -> tuple[str, ...]:
    """Options that were not given and have the value of the source."""
    return tuple(
        name for name, value in source.values.items() if name not in given and getattr(recipe, name) == value
    )


def with_recommended(recipe: Recipe, given: Sequence[str], model: Model | None) -> Recipe:
    """The recipe with what is recommended for its method and the model in the options that were not `given`.

    None: not known which model. No value of the table clashes with one that may be given: a test holds it.
    """
    source = None if model is None else recommended(recipe.method, *model)
    values = {} if source is None else source.values
    return replace(recipe, **{name: value for name, value in values.items() if name not in given})
