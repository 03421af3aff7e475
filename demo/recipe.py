"""What the demo does, as constants: the attack, how the test subject is poisoned, how it is cleaned.

How these values were found, and on which images, is told in docs/start/demo.md. Free of torch.
"""

from __future__ import annotations

from cleanclip.spec.recipe import AuditOptions, CleanCLIPRecipe, OrderedRecipe, parse_recipe
from cleanclip.spec.recommended import with_recommended
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

CLEANINGS: dict[str, OrderedRecipe] = {
    "UAR": parse_recipe(with_recommended({"method": "uar"}, ("ModifiedResNet", "small")).options),
    "CleanCLIP": CLEANING,
}
"""A job each on the same upload, by the method's name. The first is the one that the aim speaks of."""

MAIN = next(iter(CLEANINGS))

AUDIT = AuditOptions(target=TARGET, attacks=(ATTACK,))
