"""What the demo does, as constants: the attack, how the test subject is poisoned, how it is cleaned.

How these values were found, and on which images, is told in docs/start/demo.md. Free of torch.
"""

from pathlib import Path

from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, Recipe
from cleanclip.vocabulary.recommended import with_recommended
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.testbed.options import BADNET, SubjectOptions
from lab.zoo.plan import RECIPE

ATTACK = BADNET

POISONING = SubjectOptions(**RECIPE["digits-resnet"])
"""Digits, a small ModifiedResNet, a 5×5 patch on 3 % of 24,000 pairs; trained as the null's models are."""

TARGET = POISONING.target

DECLARED = {"quick_gelu": False, "num_heads_vision": 8, "num_heads_text": 1}
"""What the file's tensors cannot tell: files of this layout mostly hold OpenAI's QuickGELU, ours does not.
The images leave several numbers of heads: this attention pool answers alike with 8 and with 16."""

NUM_CLEAN_PAIRS = 8_000
NUM_TEST_IMAGES = 3_000

SCAN = ScanOptions()
SCAN_SEED = 1
"""The null's, whatever SEED is: it decides which images are drawn, and patterns begin where it says."""
NULL_PATH = Path(__file__).resolve().parent / "null.json"
"""Of 20 clean models, so that the smallest p-value is 1/21; made by `make zoo`."""

CLEANING = CleanCLIPRecipe(
    lambda1=1.0, lambda2=1.0, epochs=4, batch_size=64, learning_rate=1e-4, warmup_steps=50
)

CLEANINGS: dict[str, Recipe] = {
    "UAR": with_recommended(UARRecipe(), (), ("ModifiedResNet", "small")),
    "CleanCLIP": CLEANING,
}
"""A job each on the same upload, by the method's name. The first is the one that the aim speaks of."""

MAIN = next(iter(CLEANINGS))

AUDIT = AuditOptions(target=TARGET, attacks=(ATTACK,))
