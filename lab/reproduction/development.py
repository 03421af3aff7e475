"""Development models: the only ones that a recipe of `uar` may be chosen on. Free of torch.

Named before the first run. Their seeds are no seeds of the grid, and their attacks are five of its families.
All other families of the grid (WaNet, label-consistent, the adaptive pattern, the semantic attack) and all
models of the seeds 1, 2 and 3 are held out: no figure of theirs decides anything here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cleanclip.spec.recipe import Recipe, UARRecipe
from lab.reproduction import grid
from lab.reproduction.cells import Subject
from lab.testbed.options import BADNET, Implanted, Planted, SubjectOptions

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

    def attacks(self) -> tuple[tuple[Implanted, str], ...]:
        """Each attack and its target class."""
        options = self.subject.options
        planted: list[tuple[Implanted, str]] = [(one.attack, one.target) for one in options.further or ()]
        first = [] if options.attack is None else [(options.attack, options.target)]
        return (*first, *planted)


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

UAR = UARRecipe(learning_rate=5e-4)
"""The trial's recipe for models of this size."""

RECIPES: dict[str, Recipe] = {
    "uar": UAR,
    "cleanclip": grid.CLEANCLIP,
    "par": grid.PAR,
    "uar 20": replace(UAR, consistency_weight=20.0, weak_learning_rate=3e-4),
    "uar low rate": replace(UAR, learning_rate=2e-4),
    "uar free statistics": replace(UAR, freeze_batch_norm_statistics=False),
    "uar weak live": replace(UAR, live_step=0.05, blend_alpha=0.08, max_patch_size=0.2),
    "uar images alone": replace(UAR, trained_on="images_of_pairs"),
    "uar no bank": replace(UAR, inversion_steps=0, reinversion_steps=0),
    "uar strong alone": replace(UAR, strong_epochs=5),
}
