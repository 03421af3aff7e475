"""The pool of universal patterns: whose image carries what, what climbs, what is kept."""

from dataclasses import replace

import pytest
import torch

from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.perturbations.families import Blend, Colour, Patch, Warp
from sanitizer.perturbations.patterns import NO_PATTERN, Pattern, drawn
from sanitizer.training.distributed import World
from sanitizer.training.pattern_pool import PatternPool

CPU = torch.device("cpu")
RECIPE = UARRecipe(bank_size=5, live_updates=4, inverted_patches=2, inverted_blends=1)
STRONG, WEAK = RECIPE.stages()


def pool_of(recipe: UARRecipe = RECIPE) -> PatternPool:
    return PatternPool(recipe, image_size=32, seed=3, device=CPU)


def inverted(pool: PatternPool) -> None:
    families = pool.families_to_invert()
    pool.add_inverted([drawn(family, 32, 1, "test", number) for number, family in enumerate(families)])


def ascended(pool: PatternPool, num_steps: int, *, start: int = 0) -> None:
    for step in range(start, start + num_steps):
        assigned = pool.assign(step, STRONG, 20, World())
        images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
        assigned.perturb(images, slice(0, 20)).square().sum().backward()
        pool.ascend(step, World())


def test_the_shares_of_a_batch_carry_live_patterns_then_the_banks_then_none() -> None:
    pool = pool_of()
    inverted(pool)
    which = pool.assign(0, STRONG, 20, World()).which_N
    assert which[:3] == (0, 1, 2), "15 % of 20"
    assert set(which[3:9]) <= {4, 5, 6}, "30 %, of the bank behind the four live ones"
    assert which[9:] == (NO_PATTERN,) * 11
    weak = pool.assign(0, WEAK, 100, World()).which_N
    assert sum(n == NO_PATTERN for n in weak) == 68
    assert sum(0 <= n < 4 for n in weak) == 12


def test_edits_stand_behind_the_bank_and_are_drawn_by_the_step_whatever_the_rank() -> None:
    pool = pool_of()
    inverted(pool)
    stage = replace(STRONG, edit_share=0.25)
    joined = pool.assign(3, stage, 20, World())
    assert joined.which_N[:9] == pool.assign(3, STRONG, 20, World()).which_N[:9], "the others stay"
    assert joined.which_N[9:14] == (7, 8, 9, 10, 11)
    assert joined.which_N[14:] == (NO_PATTERN,) * 6
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    changed = joined.perturb(images, slice(0, 20))
    same = [torch.equal(one, image / 255) for one, image in zip(changed, images, strict=True)]
    assert same == [False] * 14 + [True] * 6
    own = pool.assign(3, stage, 20, World(1, 2))
    assert torch.equal(own.perturb(images[1::2], slice(0, 10)), changed[1::2])
    drawn_at = [pool.assign(step, stage, 20, World()).patterns[7:] for step in range(30)]
    assert len({type(one.family) for edits in drawn_at for one in edits}) == 7
    assert not any(one.value.requires_grad for edits in drawn_at for one in edits)


def test_an_empty_bank_leaves_its_share_clean_and_a_small_batch_has_one_of_each() -> None:
    pool = pool_of()
    assert pool.assign(0, STRONG, 20, World()).which_N[3:] == (NO_PATTERN,) * 17
    inverted(pool)
    which = pool.assign(0, WEAK, 3, World()).which_N
    assert which[0] == 0
    assert which[1] >= 4
    assert which[2] == NO_PATTERN
    full = replace(STRONG, live_share=0.9, bank_share=0.1)
    assert len(pool.assign(0, full, 2, World()).which_N) == 2


def test_where_a_batch_has_no_room_for_all_live_patterns_they_take_turns() -> None:
    pool = pool_of()
    assert [pool.assign(step, STRONG, 20, World()).which_N[:3] for step in range(3)] == [
        (0, 1, 2),
        (3, 0, 1),
        (2, 3, 0),
    ]
    assert [pool.assign(step, STRONG, 40, World()).which_N[:6] for step in range(2)] == [
        (0, 1, 2, 3, 0, 1)
    ] * 2


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_take_the_rows_of_the_joined_batch_as_its_pairs_are_shared_out(size: int) -> None:
    pool = pool_of()
    inverted(pool)
    joined = pool.assign(7, STRONG, 20, World())
    for rank in range(size):
        own = pool.assign(7, STRONG, 20, World(rank, size))
        assert own.which_N == joined.which_N[rank::size]
        assert torch.equal(own.place_N2, joined.place_N2[rank::size])


def test_a_live_pattern_climbs_by_the_sign_of_its_gradient_and_stays_in_its_range() -> None:
    pool = pool_of(replace(RECIPE, live_updates=1000))
    before = [pattern.value.detach().clone() for pattern in pool.assign(0, STRONG, 4, World()).patterns]
    assigned = pool.assign(0, STRONG, 4, World())
    assigned.perturb(torch.full((4, 3, 32, 32), 100, dtype=torch.uint8), slice(0, 4)).sum().backward()
    pool.ascend(0, World())
    after = [pattern.value for pattern in pool.assign(1, STRONG, 4, World()).patterns]
    assert torch.allclose(after[0], (before[0] + 0.1).clamp(0, 1)), "the only one that an image carried"
    assert all(map(torch.equal, before[1:], after[1:]))
    assert after[0].requires_grad
    assert after[0].max() == 1


def test_a_pattern_whose_time_is_over_goes_to_the_bank_and_the_oldest_leave_it() -> None:
    pool = pool_of()
    inverted(pool)
    kept = [pattern.value.clone() for pattern in pool.assign(0, STRONG, 20, World()).patterns[4:]]
    ascended(pool, 4)
    bank = pool.assign(4, STRONG, 20, World()).patterns[4:]
    assert len(bank) == 5, "three inverted ones, and two of the four that were live"
    assert all(map(torch.equal, [pattern.value for pattern in bank[:3]], kept))
    newest = bank[-1].value.clone()
    ascended(pool, 1, start=4)
    again = pool.assign(5, STRONG, 20, World()).patterns[4:]
    assert len(again) == 5
    assert torch.equal(again[3].value, newest), "one has come behind it"


def test_live_patches_have_sides_within_the_bounds_and_one_in_four_is_a_blend() -> None:
    pool = pool_of(replace(RECIPE, live_updates=1))
    families = [pattern.family for pattern in pool.assign(0, STRONG, 20, World()).patterns]
    assert [type(family) for family in families] == [Patch, Patch, Patch, Blend]
    sides = set()
    for step in range(100):
        ascended(pool, 1, start=step)
        live = pool.assign(step, STRONG, 20, World()).patterns[:3]
        sides |= {pattern.family.side for pattern in live if isinstance(pattern.family, Patch)}
    assert sides == set(range(4, 11))
    assert families[3] == Blend(0.12)


WIDER = replace(
    RECIPE, live_warps=1, live_colours=2, inverted_fixed_patches=2, inverted_warps=1, inverted_colours=1
)


def test_warps_and_colours_are_live_and_inverted_behind_the_others_where_they_are_ordered() -> None:
    pool = pool_of(WIDER)
    assigned = pool.assign(0, replace(STRONG, live_share=0.5), 20, World())
    live = [pattern.family for pattern in assigned.patterns]
    assert live[3:] == [Blend(0.12), Warp(0.06), Colour(0.3), Colour(0.3)]
    places = [one.at for one in pool.families_to_invert()[:4]]  # type: ignore[attr-defined]
    assert places[:2] == [None, None]
    assert len({*places[2:]} - {None}) == 2, "each has a place of its own"
    assert [type(one) for one in pool.families_to_invert()] == [Patch] * 4 + [Blend, Warp, Colour]
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    assigned.perturb(images, slice(0, 20)).square().sum().backward()
    assert all(pattern.value.grad.abs().sum() > 0 for pattern in assigned.patterns)  # type: ignore[union-attr]
    usual = [pattern.value for pattern in pool_of().assign(0, STRONG, 20, World()).patterns]
    assert all(map(torch.equal, usual, [pattern.value for pattern in assigned.patterns])), "the others stay"
    warps_alone = replace(WIDER, live_patches=0, live_blends=0, inverted_patches=0, inverted_blends=0)
    assert warps_alone.num_live == 3


@pytest.mark.parametrize("recipe", [RECIPE, WIDER], ids=["usual", "wider"])
def test_a_pool_is_restored_from_what_it_exported(recipe: UARRecipe) -> None:
    pool, other = pool_of(recipe), pool_of(recipe)
    inverted(pool)
    ascended(pool, 6)
    other.restore(pool.export())
    assert other.num_inversions == 1
    ours, theirs = (one.assign(6, STRONG, 20, World()) for one in (pool, other))
    assert ours.which_N == theirs.which_N
    for one, same in zip(ours.patterns, theirs.patterns, strict=True):
        assert one.family == same.family
        assert torch.equal(one.value, same.value)
        assert one.value.requires_grad == same.value.requires_grad
    ascended(pool, 1, start=6)
    assert other.export().keys() != {}


def test_patterns_of_another_model_are_refused() -> None:
    pool = pool_of()
    pool.add_inverted([Pattern(Blend(0.2), torch.zeros(3, 16, 16))])
    with pytest.raises(ValueError, match="is not a pattern of its family"):
        pool_of().restore(pool.export())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strong_live_share": 0.8, "strong_bank_share": 0.3}, "strong_live_share, strong_bank_share and"),
        ({"weak_live_share": 0.8, "weak_bank_share": 0.3}, "weak_live_share, weak_bank_share and"),
        ({"strong_epochs": 6}, "more than the 5 epochs"),
        ({"min_patch_size": 0.5}, "min_patch_size is more than max_patch_size"),
        (
            dict.fromkeys(
                ("strong_live_share", "strong_bank_share", "weak_live_share", "weak_bank_share"), 0.0
            ),
            "no image carries a pattern",
        ),
        (
            {"live_patches": 0, "live_blends": 0, "inversion_steps": 0, "reinversion_steps": 0},
            "no image carries",
        ),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(UARRecipe(), **changes)


def test_shares_of_a_stage_without_epochs_do_not_matter() -> None:
    replace(UARRecipe(), strong_epochs=0, strong_live_share=0.8, strong_bank_share=0.8)
