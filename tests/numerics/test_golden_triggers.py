"""The pixels of every trigger are those of its version. Who means to change them raises the version too.

Kept is how the change of two images lies along four fixed random directions: every pixel has a part in it.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from sanitizer.attacks import catalogue
from tests.fixtures.triggers import EVERY_ATTACK, random_images

GOLDEN = json.loads(Path(__file__).with_name("golden_triggers.json").read_text(encoding="utf-8"))
SIDE, SEED, INDICES = 24, 5, (0, 11)


def projected(name: str) -> list[float]:
    images = random_images(len(INDICES), SIDE)
    drawn = catalogue.build_trigger(EVERY_ATTACK[name]).apply(images, INDICES, SEED)
    directions = np.random.default_rng(1).standard_normal((4, images.numel()))
    change = (drawn.double() - images.double()).numpy().ravel()
    return [round(float(value), 4) for value in directions @ change]


def test_every_trigger_is_kept() -> None:
    assert GOLDEN.keys() == EVERY_ATTACK.keys()
    assert {options.attack for options in EVERY_ATTACK.values()} == catalogue.VERSIONS.keys()


@pytest.mark.parametrize("name", EVERY_ATTACK)
def test_the_pixels_are_those_of_the_version(name: str) -> None:
    kept = GOLDEN[name]
    assert kept["version"] == catalogue.VERSIONS[EVERY_ATTACK[name].attack]
    assert projected(name) == pytest.approx(kept["pixels"], abs=0.002), (
        "other pixels: raise the version in sanitizer.attacks.catalogue.VERSIONS and keep the new ones"
    )
