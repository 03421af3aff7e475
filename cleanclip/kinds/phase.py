"""A phase of a job as a value of its kind, and what decides how much it computes. Free of torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cleanclip.vocabulary.model_cost import ModelCost
from cleanclip.vocabulary.recipe import AuditPrecision

Unit = Literal["bytes", "images", "samples", "passes", "texts", "jobs"]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What decides how much a job computes. What is not known is None, or missing."""

    parts: Mapping[str, Any] = field(default_factory=dict)
    """Options, by the names of the order's parts."""
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    """Samples of what is read, by its columns."""
    num_bytes: int | None = None
    num_classes: int | None = None
    num_found: int = 0
    """Of the attacks that a scan has yet to find: the most."""
    has_anchor: bool = False

    @property
    def num_labelled(self) -> int | None:
        """Images that are measured on."""
        return self.sizes.get("labelled_dataset_id")

    @property
    def num_training(self) -> int | None:
        """Samples that are trained on, or vetted."""
        return self.sizes.get("dataset_id")

    def num_prompts(self, templates: Sequence[str] | None) -> int:
        """Texts of the classes: with ImageNet's 80 templates where the order names none."""
        return (self.num_classes or 0) * len(templates or range(80))


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a kind of job. One that computes as much as its order tells has a class of its own."""

    name: str
    title: str
    """As pages call it."""
    does: str = "Does what this kind of job is for; how much that is, is not known before."
    weight: int = 90
    """Its share of the job's progress."""
    unit: Unit = "images"
    """What its time grows with. Audits and vettings count images that pass through a model; a pass costs the
    same before and after. A scan counts images that pass forward and backward, a text scan texts. What is
    published is files of the size of the model: once a job."""
    only_if: Callable[[Mapping[str, Any]], bool] = lambda _: True
    """Whether this order, as its row holds it, has the phase."""
    is_spread: bool = False
    """Whether several devices may share it."""

    @property
    def computes(self) -> bool:
        """Whether it takes as long as a model does, not as files do."""
        return self.unit not in {"bytes", "jobs"}

    def sentence(self, load: Load) -> str:
        """What it computes, with the numbers that are known."""
        return self.does

    def amount(self, load: Load) -> int | None:
        """Of its unit; None: not known."""
        return {"bytes": load.num_bytes, "jobs": 1}.get(self.unit)

    def num_images(self, load: Load) -> int | None:
        """That are decoded for it."""
        return self.amount(load)

    def flop(self, load: Load, cost: ModelCost) -> float | None:
        """Floating-point operations; None: its amount is not known."""
        amount = self.amount(load)
        return None if amount is None else cost.image.flop * amount

    def precision(self, load: Load) -> AuditPrecision:
        """In which images pass through the model to be measured."""
        audit = load.parts.get("audit")
        return "fp32" if audit is None else audit.precision

    def precision_on_gpu(self, load: Load) -> AuditPrecision:
        """As `precision`; of a training what the recipe's `auto` means there."""
        return self.precision(load)


STAGE = Phase(
    name="stage",
    title="Fetch what the job reads",
    does="Copies the checkpoint and the data to the worker and checks their digests.",
    weight=3,
    unit="bytes",
)
PUBLISH = Phase(
    name="publish",
    title="Write and publish the results",
    does="Writes the report and the statement, and stores all files.",
    weight=3,
    unit="jobs",
)


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """ "1 image", "2,000 images"."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"
