"""What the demo does, as constants: the attack, how the test subject is poisoned, how it is cleaned.

How these values were found, and on which images, is told in docs/start/demo.md. Free of torch.
"""

from __future__ import annotations

from cleanclip.spec.recipe import AuditOptions, CleanCLIPRecipe
from lab.testbed.options import BADNET, SubjectOptions

ATTACK = BADNET

POISONING = SubjectOptions()
"""Digits, a small ModifiedResNet, a 5×5 patch on 3 % of 24,000 pairs."""

TARGET = POISONING.target

DECLARED = {"quick_gelu": False}
"""What the file's tensors cannot tell: files of this layout mostly hold OpenAI's QuickGELU, ours does not."""

NUM_CLEAN_PAIRS = 8_000
NUM_TEST_IMAGES = 3_000

CLEANING = CleanCLIPRecipe(
    lambda1=1.0, lambda2=1.0, epochs=4, batch_size=64, learning_rate=1e-4, warmup_steps=50
)

AUDIT = AuditOptions(target=TARGET, attacks=(ATTACK,))
