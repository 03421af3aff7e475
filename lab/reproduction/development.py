"""Development models: the only ones that a recipe of `uar` may be chosen on. Free of torch.

Named before the first run. Their seeds are no seeds of the grid, and their attacks are five of its families.
All other families of the grid (WaNet, label-consistent, the adaptive pattern, the semantic attack) and all
models of the seeds 1, 2 and 3 are held out: no figure of theirs decides anything here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from cleanclip.spec.attack_options import kind_of
from cleanclip.spec.recipe import Recipe, UARRecipe
from lab.reproduction import grid
from lab.reproduction.cells import Subject
from lab.testbed.options import BADNET, Implanted, Planted, SubjectOptions, trigger_of

_STRIPES = grid.STRUCTURED_ATTACKS["Stripes (fixed patch)"]
_TRIANGLES = grid.STRUCTURED_ATTACKS["Triangles"]
_TEXT = grid.STRUCTURED_ATTACKS["Text"]
_BLENDED = grid.PAPER_ATTACKS["Blended"]


@dataclass(frozen=True, kw_only=True)
class DevelopmentModel:
    """A test subject by name; `families` names its attacks in their order."""

    name: str
    subject: Subject
    families: tuple[str, ...]
    pattern_of: Subject | None = None
    """Whose optimised pattern a model that never saw it is measured with."""

    def attacks(self) -> tuple[tuple[Implanted, str], ...]:
        """Each attack and its target class."""
        options = (self.pattern_of or self.subject).options
        planted: list[tuple[Implanted, str]] = [(one.attack, one.target) for one in options.further or ()]
        first = [] if options.attack is None else [(options.attack, options.target)]
        return (*first, *planted)

    def kinds(self) -> set[str]:
        """Of the attacks that have a trigger which the service knows."""
        return {kind_of(one) for attack, _ in self.attacks() if (one := trigger_of(attack))}


def _five_families() -> SubjectOptions:
    others = ((_TRIANGLES, "red", "bag"), (_TEXT, "blue", "coat"), (BADNET, "green", "shirt"))
    return SubjectOptions(
        glyphs="fashion_mnist",
        tower="vit",
        attack=_STRIPES,
        target_noun="sandal",
        poison_share=0.025,
        further=tuple(
            Planted(attack=attack, target_ink=ink, target_noun=noun)
            for attack, ink, noun in (*others, (_BLENDED, "purple", "trousers"))
        ),
    )


def _one(name: str, family: str, attack: Implanted | None, bed: grid.Bed, seed: int) -> DevelopmentModel:
    subject = grid.subject(attack, seed, bed)
    return DevelopmentModel(name=name, subject=subject, families=() if attack is None else (family,))


MODELS = (
    DevelopmentModel(
        name="vit-five",
        subject=Subject(options=_five_families(), seed=11),
        families=("stripes", "triangles", "text", "badnet", "blended"),
    ),
    _one("resnet-badnet", "badnet", BADNET, grid.FASHION, 12),
    _one("resnet-clean", "none", None, grid.FASHION, 13),
    _one("resnet-stripes", "stripes", _STRIPES, grid.FASHION, 14),
    _one("vit-stripes", "stripes", _STRIPES, grid.FASHION_VIT, 15),
    _one("vit-clean", "none", None, grid.FASHION_VIT, 16),
)

NUM_PAIRS = 8_000

UAR = UARRecipe(learning_rate=5e-4)
"""The trial's recipe for models of this size."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Of a run of uar. The defaults are the product's."""

    loss: Literal["cosine", "similarities", "with views"] = "cosine"
    """similarities: the KL divergence between the input model's softmax over the batch's captions and the
    trained one's, both ways. Rotations of both towers' space are free then. with views: CleanCLIP's
    self-supervised term of images is added, with its weight."""
    starts_from: str = ""
    """A variant that was run, whose image tower the run starts from, or "ablation" (`ablating`). The teacher
    is the input model all the same."""
    blends: Literal["pixels", "low frequencies"] = "pixels"
    """low frequencies: instead of a blend a sum of 8 × 8 cosines, of the same contrast."""
    is_trained: bool = True
    """False: the start itself is measured."""
    kept: float = 1.0
    """The weights end at this share of the way from the input model to the trained one."""
    trained_on: Literal["clean pairs", "digits", "leaves"] = "clean pairs"
    """Images of another dataset, whose classes the model does not know, or images made by code
    (`lab.testbed.leaves`), instead of clean images of the model's own kind."""
    averaged_with: tuple[str, ...] = ()
    """Variants whose weights are averaged with this one's; they must have been run."""


NONE = Changes()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a development model is cleaned: a recipe, what is changed beside its options, and on how much."""

    recipe: Recipe
    changes: Changes = NONE
    num_pairs: int = NUM_PAIRS


def _fewer(num_pairs: int) -> Variant:
    """The same number of updates."""
    times = NUM_PAIRS // num_pairs
    recipe = replace(UAR, epochs=UAR.epochs * times, strong_epochs=UAR.strong_epochs * times)
    return Variant(recipe=recipe, num_pairs=num_pairs)


def _uar(changes: Changes = NONE, **options: Any) -> Variant:
    return Variant(recipe=replace(UAR, **options), changes=changes)


_METHODS = {
    "uar": _uar(),
    "cleanclip": Variant(recipe=grid.CLEANCLIP),
    "par": Variant(recipe=grid.PAR),
}
_TOWARDS_LESS_CA_LOST = {
    "uar 20": _uar(consistency_weight=20.0, weak_learning_rate=3e-4),
    "uar low rate": _uar(learning_rate=2e-4),
    "uar high rate": _uar(learning_rate=1e-3),
    "uar high rate 20": _uar(learning_rate=1e-3, consistency_weight=20.0),
    "uar longer": _uar(epochs=8),
    "uar low weak rate": _uar(weak_learning_rate=2e-4),
    "uar free statistics": _uar(freeze_batch_norm_statistics=False),
    "uar weak live": _uar(live_step=0.05, blend_alpha=0.08, max_patch_size=0.2),
    "uar weak blends": _uar(blend_alpha=0.08, inverted_blend_alpha=0.12),
    "uar similarities": _uar(Changes(loss="similarities"), consistency_weight=1.0),
    "uar kept 0.8": _uar(Changes(kept=0.8)),
    "uar kept 0.6": _uar(Changes(kept=0.6)),
    "uar soup": _uar(Changes(averaged_with=("uar low rate", "uar high rate"))),
    "uar low rate, weak blends": _uar(learning_rate=2e-4, blend_alpha=0.08, inverted_blend_alpha=0.12),
    "uar views": _uar(Changes(loss="with views")),
}
_WEAK = {"epochs": 3, "strong_epochs": 0}
_WITHOUT_PATTERNS = {"live_patches": 1, "live_blends": 0, "inversion_steps": 0, "weak_live_share": 0.001}
"""Hardly any: one image of a batch has a live patch, some have patches that were live before. A recipe of UAR
without any pattern is refused."""
_OTHER_STARTS = {
    "uar from cleanclip": _uar(Changes(starts_from="cleanclip"), **_WEAK),
    "uar from par": _uar(Changes(starts_from="par"), **_WEAK),
    "par recovered": _uar(
        Changes(starts_from="par", loss="similarities"), consistency_weight=1.0, **_WEAK, **_WITHOUT_PATTERNS
    ),
    "ablation alone": _uar(Changes(starts_from="ablation", is_trained=False)),
    "uar from ablation": _uar(Changes(starts_from="ablation"), **_WEAK),
}
"""A strong start by other means, then the weak stage. CleanCLIP and PAR have their own updates before it."""
_ABLATIONS = {
    "uar short": _uar(epochs=3, strong_epochs=1),
    "uar images alone": _uar(trained_on="images_of_pairs"),
    "uar digits": _uar(Changes(trained_on="digits"), trained_on="images_of_pairs"),
    "uar leaves": _uar(Changes(trained_on="leaves"), trained_on="images_of_pairs"),
    "uar no inversion": _uar(inversion_steps=0, reinversion_steps=0),
    "uar no bank": _uar(strong_bank_share=0.0, weak_bank_share=0.0),
    "uar strong alone": _uar(strong_epochs=5),
    "uar weak alone": _uar(strong_epochs=0),
    "uar patches alone": _uar(live_blends=0, inverted_blends=0),
    "uar blends alone": _uar(live_patches=0, inverted_patches=0),
    "uar inverted alone": _uar(strong_live_share=0.0, weak_live_share=0.0),
    "uar half the share": _uar(
        strong_live_share=0.075, strong_bank_share=0.15, weak_live_share=0.06, weak_bank_share=0.1
    ),
    "uar two live": _uar(live_patches=1),
    "uar eight live": _uar(live_patches=6, live_blends=2),
    "uar further families": _uar(live_warps=1, live_colours=1, inverted_warps=2, inverted_colours=2),
    "uar low frequencies": _uar(Changes(blends="low frequencies")),
}
VARIANTS: dict[str, Variant] = (
    _METHODS
    | _TOWARDS_LESS_CA_LOST
    | _ABLATIONS
    | _OTHER_STARTS
    | {f"uar {num_pairs:,} pairs": _fewer(num_pairs) for num_pairs in (500, 1_000, 2_000, 4_000)}
)

PLAN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vit-five", ("before", "uar", "cleanclip", "par")),
    ("resnet-badnet", ("before", "uar", "cleanclip", "par")),
    ("resnet-badnet", ("uar kept 0.8", "uar similarities", "uar low rate")),
    ("vit-five", ("uar kept 0.8", "uar no inversion", "uar short")),
    ("resnet-badnet", ("uar high rate", "uar 20", "uar kept 0.6", "uar soup", "uar short")),
    ("resnet-clean", ("before", "uar", "uar kept 0.8", "uar kept 0.6")),
    ("resnet-stripes", ("before", "uar", "uar kept 0.8", "uar kept 0.6")),
    ("vit-five", ("uar images alone", "uar weak alone", "uar digits", "uar leaves")),
    ("resnet-badnet", ("uar weak blends", "uar longer", "uar free statistics", "uar high rate 20")),
    ("vit-five", ("uar 1,000 pairs", "uar further families")),
    ("vit-clean", ("before", "uar", "uar kept 0.8")),
    ("vit-five", ("uar patches alone", "uar blends alone")),
    ("vit-stripes", ("before", "uar", "cleanclip", "par")),
    ("resnet-stripes", ("cleanclip", "par")),
    ("vit-five", ("uar similarities", "uar 20", "uar weak blends", "uar strong alone")),
    ("resnet-badnet", ("uar weak live", "uar low weak rate", "uar low rate, weak blends")),
    ("vit-five", ("uar 500 pairs", "uar 2,000 pairs", "uar 4,000 pairs")),
    ("vit-five", ("uar half the share", "uar two live", "uar eight live", "uar inverted alone")),
    ("resnet-clean", ("cleanclip", "par")),
    ("vit-clean", ("cleanclip", "par")),
)
"""What is run, in this order; rows that are there already are not run again."""
LATER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vit-five", ("uar low frequencies", "ablation alone", "uar from ablation", "par recovered")),
    ("vit-five", ("uar from par", "uar from cleanclip", "uar views", "uar no bank")),
    ("resnet-badnet", ("uar from par", "par recovered", "uar from cleanclip", "uar views")),
)
"""Ideas that were run after the recipes were frozen: they decide nothing there."""
