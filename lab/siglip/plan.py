"""Which models the study of SigLIPs has: what is developed on and what is held out. Free of torch.

Training was chosen on the development seed, whose models are measured on validation images. Held-out models
have other triggers, other images and test images; each is trained and cleaned once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cleanclip.spec.recipe import BadNetOptions
from lab.testbed.options import BADNET, SubjectOptions

Part = Literal["development", "held_out"]
Judges = Literal["validation", "test"]
SEEDS: Mapping[Part, tuple[int, ...]] = {"development": (0,), "held_out": (1, 2, 3)}
JUDGED_ON: Mapping[Part, Judges] = {"development": "validation", "held_out": "test"}
OPTIONS = SubjectOptions(
    glyphs="fashion_mnist",
    tower="vit",
    target_noun="sandal",
    poison_share=0.15,
    epochs=8,
    batch_size=64,
    learning_rate=5e-4,
)
TRAINING = ("num_pairs", "poison_share", "epochs", "batch_size", "learning_rate", "warmup_steps")
"""What of it is read; the towers are as wide and deep as the testbed's ViT."""


def trigger(seed: int) -> BadNetOptions:
    """The testbed's, larger: with a side of 5 pixels a development model did not reach an ASR of 90 %."""
    return replace(BADNET, size=8 / 32, pattern_seed=seed)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One SigLIP. `options.attack` None: it is clean, and audited for the trigger all the same."""

    part: Part
    seed: int
    options: SubjectOptions

    @property
    def name(self) -> str:
        """Of its rows."""
        return f"{self.part}-{'badnet' if self.options.attack else 'clean'}-{self.seed}"


def models(part: Part) -> tuple[Model, ...]:
    """The poisoned ones first. The seed draws everything, the trigger's pattern included."""
    return tuple(
        Model(part=part, seed=seed, options=replace(OPTIONS, attack=attack))
        for is_poisoned in (True, False)
        for seed in SEEDS[part]
        for attack in [trigger(seed) if is_poisoned else None]
    )
