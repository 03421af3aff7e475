"""Development models: the only ones that a recipe of `uar` may be chosen on. Free of torch.

Named before the first run. Their seeds are no seeds of the grid, and their attacks are five of its families.
All other families of the grid (WaNet, label-consistent, the adaptive pattern, the semantic attack) and all
models of the seeds 1, 2 and 3 are held out: no figure of theirs decides anything here.
"""

from __future__ import annotations

from dataclasses import dataclass

from cleanclip.spec.recipe import Recipe
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

RECIPES: dict[str, Recipe] = {"cleanclip": grid.CLEANCLIP, "par": grid.PAR}
