"""Options → trigger, and the digest that names it."""

from __future__ import annotations

from sanitizer.attacks.catalogue import build_trigger, trigger_sha256
from sanitizer.recipe import AttackOptions, BadNetOptions
from tests.fixtures.triggers import EVERY_ATTACK


def test_every_attack_of_the_recipe_builds_a_trigger_of_its_name(options: AttackOptions) -> None:
    assert build_trigger(options).name == options.attack


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
