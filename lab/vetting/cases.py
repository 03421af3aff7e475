"""What is measured: models, kinds of poison, and how they are judged. Free of torch. Named before the first
run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cleanclip.spec.recipe import AttackOptions
from cleanclip.spec.vet_options import ScoreName
from lab.reproduction import grid
from lab.reproduction.cells import Subject
from lab.reproduction.development import MODELS
from lab.testbed.options import Implanted, PaperColour, Planted, SubjectOptions

NUM_CLEAN, NUM_CLEAN_LARGE = 10_000, 100_000
NUM_TRUSTED = 2_000
NUM_POISONS = 5
"""In the set of each draw."""
NUM_DRAWS = 100
SHARE = 0.05
CLEAN_SEED, TRUSTED_SEED, POISON_SEED, DRAW_SEED = 41_000, 42_000, 43_000, 44_000

LABEL_CONSISTENT = grid.PAPER_ATTACKS["Label-consistent"]
ANCHOR = grid.subject(None, 13, grid.FASHION)
"""A clean model of the same bed, trained with another seed: the best anchor that there can be here."""
TWO_KINDS = Subject(
    options=SubjectOptions(
        glyphs="fashion_mnist",
        attack=PaperColour(),
        target_noun="sandal",
        poison_share=0.01,
        further=(Planted(attack=LABEL_CONSISTENT, target_ink="blue", target_noun="coat"),),
    ),
    seed=17,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of poison, vetted with one suspect. `attack` None: a clean image with the target's caption."""

    model: str
    family: str
    kind: str
    subject: Subject
    attack: Implanted | None
    target: str
    num_clean: int = NUM_CLEAN

    @property
    def name(self) -> str:
        """For files and tables."""
        large = "" if self.num_clean == NUM_CLEAN else f", {self.num_clean:,} pairs"
        return f"{self.model}, {self.family}{large}"

    @property
    def scores(self) -> tuple[ScoreName, ...]:
        """Without the true trigger. The large set leaves out the one that costs eight passes a model."""
        cheap: tuple[ScoreName, ...] = ("local_density", "disagreement", "residual", "mismatch")
        return (*cheap, "sensitivity") if self.num_clean == NUM_CLEAN else cheap

    @property
    def trigger(self) -> AttackOptions | None:
        """What a perfect scan would find."""
        if self.attack is None or isinstance(self.attack, PaperColour):
            return None
        return self.attack  # type: ignore[return-value]


WRONG, CONSISTENT, SEMANTIC, NEW = (
    "wrong caption, trigger",
    "label-consistent",
    "semantic",
    "wrong caption, no trigger",
)


def _cases() -> tuple[Case, ...]:
    five = next(model for model in MODELS if model.name == "vit-five")
    badnet = next(model for model in MODELS if model.name == "resnet-badnet")
    cases = [
        Case(model="ViT", family=family, kind=WRONG, subject=five.subject, attack=attack, target=target)
        for family, (attack, target) in zip(five.families, five.attacks(), strict=True)
    ]
    (attack, target), options = badnet.attacks()[0], TWO_KINDS.options
    planted = (options.further or ())[0]
    wrong = Case(
        model="ResNet", family="badnet", kind=WRONG, subject=badnet.subject, attack=attack, target=target
    )
    return (
        wrong,
        replace(wrong, num_clean=NUM_CLEAN_LARGE),
        *cases,
        Case(model="ResNet", family="none", kind=NEW, subject=badnet.subject, attack=None, target="red bag"),
        Case(
            model="ResNet 2",
            family="label-consistent",
            kind=CONSISTENT,
            subject=TWO_KINDS,
            attack=planted.attack,
            target=planted.target,
        ),
        Case(
            model="ResNet 2",
            family="paper's colour",
            kind=SEMANTIC,
            subject=TWO_KINDS,
            attack=options.attack,
            target=options.target,
        ),
    )


CASES = _cases()

CONFIGURATIONS: dict[str, tuple[tuple[ScoreName | str, ...], bool]] = {
    "anchor and trusted": (("local_density", "disagreement", "residual", "mismatch"), True),
    "anchor": (("local_density", "disagreement", "residual", "mismatch"), False),
    "trusted": (("local_density", "mismatch by suspect"), True),
    "neither": (("local_density", "mismatch by suspect"), False),
    "with sensitivity": (("local_density", "disagreement", "residual", "mismatch", "sensitivity"), True),
    "with the trigger": (
        ("local_density", "disagreement", "residual", "trigger_direction", "mismatch"),
        True,
    ),
}
"""Name → scores, and whether trusted samples calibrate."""
