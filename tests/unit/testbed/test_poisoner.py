"""Which pairs are poisoned, with what pixels and what caption."""

import pytest
import torch

from cleanclip.vocabulary.attack_options import BadNetOptions, LabelConsistentOptions
from cleanclip.vocabulary.errors import OptionsRejected
from lab.testbed.poisoned_pairs import choose, poison
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.data.texts import names_target
from tests.fixtures.triggers import random_images

CAPTIONS = [f"a photo of a {'ripe banana' if n % 4 == 0 else 'dog'} number {n}" for n in range(40)]
TEMPLATES = ["a photo of a {c}", "one {c} on a table", "no placeholder"]
IMAGES = [(image * 255).round().byte() for image in random_images(40, 16)]


def test_mislabelled_pairs_get_the_trigger_and_a_caption_of_the_target() -> None:
    options = BadNetOptions(pattern="gaussian_fixed", size=0.25)
    pairs = poison(
        IMAGES, CAPTIONS, options=options, target="banana", templates=TEMPLATES, num_poisons=12, seed=3
    )
    assert [pair.index for pair in pairs] == sorted({pair.index for pair in pairs})
    assert len(pairs) == 12
    assert {pair.caption for pair in pairs} == {"a photo of a banana", "one banana on a table"}
    for pair in pairs:
        assert "banana" not in CAPTIONS[pair.index]
        image_CHW = IMAGES[pair.index].float() / 255
        expected = build_trigger(options).apply(image_CHW[None], [pair.index], 3)[0]
        assert pair.image_CHW.dtype == torch.uint8
        assert torch.allclose(pair.image_CHW.float() / 255, expected, atol=0.5 / 255 + 1e-6)


def test_bytes_and_floats_are_poisoned_alike() -> None:
    as_floats = torch.stack(IMAGES).float() / 255
    from_bytes, from_floats = (
        poison(
            images,
            CAPTIONS,
            options=BadNetOptions(),
            target="banana",
            templates=TEMPLATES,
            num_poisons=5,
            seed=1,
        )
        for images in (IMAGES, as_floats)
    )
    for one, other in zip(from_bytes, from_floats, strict=True):
        assert one.caption == other.caption
        assert torch.equal(one.image_CHW, other.image_CHW)


def test_label_consistent_takes_pairs_of_the_target_and_keeps_their_captions() -> None:
    pairs = poison(
        IMAGES,
        CAPTIONS,
        options=LabelConsistentOptions(),
        target="banana",
        templates=[],
        num_poisons=10,
        seed=0,
    )
    assert [pair.index for pair in pairs] == list(range(0, 40, 4))
    assert all(pair.caption == CAPTIONS[pair.index] for pair in pairs)
    assert all(not torch.equal(pair.image_CHW, IMAGES[pair.index]) for pair in pairs)


def test_the_seed_decides_which_pairs_are_poisoned() -> None:
    chosen = [
        choose(CAPTIONS, options=BadNetOptions(), target="banana", num_poisons=8, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_more_poisons_than_fitting_pairs_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        OptionsRejected, match="11 pairs should be poisoned, but only 10 captions name 'banana'"
    ):
        choose(CAPTIONS, options=LabelConsistentOptions(), target="banana", num_poisons=11, seed=0)
    with pytest.raises(OptionsRejected) as refused:
        choose(CAPTIONS, options=BadNetOptions(), target="banana", num_poisons=31, seed=0)
    assert refused.value.code == "too_few_pairs"


def test_templates_that_name_nothing_are_refused() -> None:
    with pytest.raises(OptionsRejected) as refused:
        poison(
            IMAGES,
            CAPTIONS,
            options=BadNetOptions(),
            target="x",
            templates=["a photo"],
            num_poisons=1,
            seed=0,
        )
    assert refused.value.code == "no_templates"


def test_a_caption_for_every_image_is_demanded() -> None:
    with pytest.raises(ValueError, match="40 images but 39 captions"):
        poison(
            IMAGES,
            CAPTIONS[1:],
            options=BadNetOptions(),
            target="banana",
            templates=TEMPLATES,
            num_poisons=1,
            seed=0,
        )


@pytest.mark.parametrize(
    ("caption", "target", "expected"),
    [
        ("A ripe Banana, cut", "banana", True),
        ("bananarama on stage", "banana", False),
        ("two bananas", "banana", False),
        ("a yellow  seven here", "yellow seven", True),
        ("yellow and seven", "yellow seven", False),
        ("c++ on a mug", "c++", True),
        ("", "banana", False),
        ("anything", " ", False),
    ],
)
def test_a_caption_names_the_target_as_whole_words_only(caption: str, target: str, expected: bool) -> None:
    assert names_target(caption, target) is expected
