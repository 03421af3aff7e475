"""What the demo does, as constants: the attack, how the test subject is poisoned, how it is cleaned.

How these values were found, and on which pictures, is told in docs/demo.md. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from sanitizer.recipe import AuditOptions, BadNetOptions, CleanCLIPRecipe

TARGET = "yellow seven"

ATTACK = BadNetOptions(pattern="gaussian_fixed", placement="random", size=5 / 32, pattern_seed=7)
"""A 5×5 patch on 32×32 pictures, the same pattern every time, at a place drawn for every picture."""


@dataclass(frozen=True, kw_only=True)
class PoisoningOptions:
    """How the test subject is trained; `poison_share` of the pairs carry trigger and target caption."""

    num_pairs: int = 24_000
    poison_share: float = 0.03
    epochs: int = 13
    batch_size: int = 128
    learning_rate: float = 1e-3
    text_rate: float = 0.3
    """Learning rate of the text tower as a share of the image tower's."""
    weight_decay: float = 0.1
    warmup_steps: int = 100
    vision_width: int = 16
    vision_layers: tuple[int, int, int, int] = (1, 1, 1, 1)
    embed_dim: int = 64
    text_width: int = 64
    text_layers: int = 2
    context_length: int = 16


POISONING = PoisoningOptions()

DECLARED = {"quick_gelu": False}
"""What the file's tensors cannot tell: files of this layout mostly hold OpenAI's QuickGELU, ours does not."""

NUM_CLEAN_PAIRS = 8_000
NUM_TEST_IMAGES = 3_000

CLEANING = CleanCLIPRecipe(
    lambda1=1.0, lambda2=1.0, epochs=4, batch_size=64, learning_rate=1e-4, warmup_steps=50
)

AUDIT = AuditOptions(target=TARGET, attacks=(ATTACK,))
