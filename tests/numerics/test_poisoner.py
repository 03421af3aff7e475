"""Which pairs are poisoned and how, against the documented streams and the reference's triggers."""

import numpy as np
import pytest

from cleanclip.vocabulary.attack_options import AttackOptions, LabelConsistentOptions
from cleanclip.vocabulary.recipe import to_json
from lab.testbed.poisoned_pairs import poison
from tests.fixtures.triggers import EVERY_ATTACK, random_images
from tests.numerics import reference

TEMPLATES = ("a photo of a {c}", "a {c}", "my {c}")
CAPTIONS = [f"{'a banana' if n % 3 == 0 else 'a tree'} {n}" for n in range(30)]


@pytest.mark.parametrize("options", EVERY_ATTACK.values(), ids=list(EVERY_ATTACK))
def test_poisoned_pairs_can_be_made_again_from_the_documented_streams(options: AttackOptions) -> None:
    images, seed = random_images(30, 16), 21
    pairs = poison(
        images, CAPTIONS, options=options, target="banana", templates=TEMPLATES, num_poisons=6, seed=seed
    )
    keeps = isinstance(options, LabelConsistentOptions)
    eligible = [n for n, caption in enumerate(CAPTIONS) if ("banana" in caption) == keeps]
    chosen = reference.stream(seed, "poison_choice").choice(len(eligible), 6, replace=False)
    assert [pair.index for pair in pairs] == sorted(eligible[n] for n in chosen)
    for pair in pairs:
        template = TEMPLATES[reference.stream(seed, "poison_caption", pair.index).integers(0, 3)]
        assert pair.caption == (CAPTIONS[pair.index] if keeps else template.replace("{c}", "banana"))
        exact = reference.trigger(images[pair.index].double().numpy(), pair.index, to_json(options), seed)
        np.testing.assert_allclose(pair.image_CHW.numpy(), exact * 255, rtol=0, atol=0.5 + 1e-4)
