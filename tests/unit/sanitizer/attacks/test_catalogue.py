"""Options → trigger, and the digest that names it."""

import torch

from cleanclip.vocabulary.attack_options import (
    AttackOptions,
    BadNetOptions,
    LabelConsistentOptions,
    of_same_pixels,
)
from sanitizer.attacks.catalogue import build_trigger, trigger_sha256
from tests.fixtures.triggers import EVERY_ATTACK, random_images


def test_attacks_of_the_same_pixels_are_together_and_no_others() -> None:
    attacks = [
        BadNetOptions(),
        LabelConsistentOptions(),
        BadNetOptions(target="cat"),
        BadNetOptions(pattern_seed=1),
        LabelConsistentOptions(size=0.5),
        *(options for name, options in EVERY_ATTACK.items() if name not in ("badnet", "label_consistent")),
    ]
    alike = of_same_pixels(attacks)
    assert alike == ((0, 1, 2), *((number,) for number in range(3, len(attacks))))
    images = random_images(4, 32)
    drawn = [build_trigger(options).apply(images, range(4), 7) for options in attacks]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert not any(torch.equal(drawn[0], other) for other in drawn[4:])


def test_the_digest_is_hexadecimal_and_repeats(options: AttackOptions) -> None:
    digest = trigger_sha256(options, 3)
    assert len(digest) == 64
    assert int(digest, 16) > 0
    assert digest == trigger_sha256(options, 3)


def test_other_options_or_another_seed_give_another_digest() -> None:
    digests = {trigger_sha256(options, 0) for options in EVERY_ATTACK.values()}
    assert len(digests) == len(EVERY_ATTACK)
    assert trigger_sha256(BadNetOptions(), 0) != trigger_sha256(BadNetOptions(), 1)
    assert trigger_sha256(BadNetOptions(pattern_seed=1), 0) != trigger_sha256(BadNetOptions(), 0)
