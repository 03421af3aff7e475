"""PAR's triggers as its paper describes them, seen on plain images; the numbers are in tests/numerics."""

import pytest
import torch

from cleanclip.vocabulary.attack_options import (
    SUITES,
    BadNetOptions,
    BlendedOptions,
    TextTriggerOptions,
    kind_of,
)
from sanitizer.attacks.catalogue import build_trigger


def test_the_suite_is_the_four_of_the_paper_with_its_strengths() -> None:
    stripes, blended, triangles, text = SUITES["structured"]
    assert [kind_of(attack) for attack in SUITES["structured"]] == [
        "badnet-stripes",
        "blended-stripes",
        "blended-triangles",
        "text_trigger",
    ]
    assert isinstance(stripes, BadNetOptions)
    assert stripes.size == 16 / 224
    assert isinstance(blended, BlendedOptions)
    assert isinstance(triangles, BlendedOptions)
    assert (blended.alpha, triangles.alpha, triangles.cell) == (0.03, 0.15, 14 / 224)
    assert isinstance(text, TextTriggerOptions)
    assert (text.text, text.colour, text.alpha) == ("Watermarked", "#ff0000", 0.5)


def test_striped_patches_are_columns_of_the_eight_pure_colours() -> None:
    options = BadNetOptions(pattern="stripes_redrawn", placement="top_left", size=0.5)
    grey = torch.full((4, 3, 32, 32), 0.5)
    patch_N3PP = build_trigger(options).apply(grey, range(4), 0)[:, :, :16, :16]
    assert set(patch_N3PP.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(patch_N3PP, patch_N3PP[:, :, :1].expand(-1, -1, 16, -1))
    assert len({tuple(column.tolist()) for column in patch_N3PP[:, :, 0].permute(0, 2, 1).flatten(0, 1)}) == 8


@pytest.mark.parametrize("side", [32, 224])
def test_blended_stripes_move_every_pixel_by_three_hundredths_towards_one_sign(side: int) -> None:
    grey = torch.full((1, 3, side, side), 0.5)
    moved = build_trigger(SUITES["structured"][1]).apply(grey, [0], 0) - 0.97 * grey
    assert torch.allclose(moved.abs(), torch.tensor(0.03), atol=1e-6)
    assert torch.equal(moved, moved[:, :, :1].expand(-1, -1, side, -1))
    assert 0.3 < float((moved > 0).float().mean()) < 0.7


def test_fixed_stripes_are_the_same_on_every_image_and_redrawn_ones_are_not() -> None:
    grey = torch.full((2, 3, 32, 32), 0.5)
    fixed = build_trigger(BlendedOptions(pattern="stripes_fixed")).apply(grey, [0, 1], 0)
    redrawn = build_trigger(BlendedOptions(pattern="stripes_redrawn")).apply(grey, [0, 1], 0)
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.equal(redrawn[0], redrawn[1])
    other = build_trigger(BlendedOptions(pattern="stripes_fixed", pattern_seed=1)).apply(grey, [0, 1], 0)
    assert not torch.equal(fixed, other)


def test_triangles_are_pars_squares_of_fourteen_pixels_at_224() -> None:
    pattern = build_trigger(BlendedOptions(pattern="triangles", alpha=1)).apply(
        torch.zeros(1, 3, 224, 224), [0], 0
    )[0]
    assert torch.equal(pattern[:, :14, :14], pattern[:, 14:28, 210:224])
    below = torch.ones(14, 14).tril().bool()
    assert torch.equal(pattern[0, :14, :14] == torch.tensor(0.4), below)
    assert torch.equal(pattern[0, :14, :14] == torch.tensor(0.8), ~below)


@pytest.mark.parametrize("side", [32, 64, 224])
def test_the_text_is_red_spans_seven_eighths_and_lies_in_the_middle(side: int) -> None:
    black = torch.zeros(1, 3, side, side)
    written = build_trigger(TextTriggerOptions()).apply(black, [0], 0)[0]
    assert written[0].max() <= 0.5 + 1e-6
    assert written[0].max() > (0.15 if side == 32 else 0.3)
    assert not written[1:].any()
    rows, columns = (written[0] > 0).nonzero(as_tuple=True)
    assert int(columns.max() - columns.min()) + 1 == round(side * 196 / 224)
    assert abs(int(rows.max() + rows.min()) - side) <= 2
    share = float((written[0] > 0.1).float().mean())
    assert 0.005 < share < 0.1


def test_the_text_is_seen_on_white_too() -> None:
    white = torch.ones(1, 3, 64, 64)
    written = build_trigger(TextTriggerOptions()).apply(white, [0], 0)[0]
    assert torch.equal(written[0], white[0, 0])
    assert written[1].min() < 0.8
    assert torch.equal(written[1], written[2])
