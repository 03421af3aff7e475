"""The universal patterns of a UAR run: live ones that maximise the loss, and a bank of kept ones.

Position p of the joined batch of all ranks, from 0: the first `live` positions carry the live patterns in
turn (where there are fewer positions than patterns, an update goes on where the one before it ended), the
next `bank` positions patterns of the bank, the next `edit` positions an edit each, all drawn by (seed, step);
the others none. Batches are in random order, so which pair stands where is random. An empty bank leaves its
positions clean.

Everything is drawn by (seed, step), whatever the number of ranks or the step at which a run was resumed; what
is not drawn (values of patterns, which inversions are done) is in `export`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import torch
from torch import Tensor

from cleanclip.vocabulary.uar_recipe import Stage, UARRecipe
from sanitizer.perturbations import edits
from sanitizer.perturbations.families import Blend, Colour, Family, Patch, Warp
from sanitizer.perturbations.patterns import NO_PATTERN, Pattern, apply_patterns, drawn
from sanitizer.seeding import generator
from sanitizer.training.distributed import World

_INVERSIONS = "inversions"


@dataclass(frozen=True)
class Assigned:
    """What this rank's images of one step carry. `live` have a gradient after the step's backward pass."""

    patterns: tuple[Pattern, ...]
    which_N: tuple[int, ...]
    place_N2: Tensor

    def perturb(self, image_NCHW: Tensor, rows: slice) -> Tensor:
        """Images `rows` of the rank's batch, uint8 → floating point in [0, 1], with their patterns."""
        pixels_NCHW = image_NCHW.to(torch.float32) / 255
        return apply_patterns(pixels_NCHW, self.patterns, self.which_N[rows], self.place_N2[rows])


class PatternPool:
    """The live patterns and the bank of one run, on `device`."""

    def __init__(self, recipe: UARRecipe, *, image_size: int, seed: int, device: torch.device) -> None:
        self._recipe, self._size, self._seed, self._device = recipe, image_size, seed, device
        self._num_live = recipe.num_live
        self._edits = edits.families(recipe.edit_strength)
        self._live = [self._drawn(number, 0) for number in range(recipe.num_live)]
        self._inverted: list[Pattern] = []
        self._ascended: list[Pattern] = []
        self.num_inversions = 0
        """Stages whose inversion is done."""

    def assign(self, step: int, stage: Stage, batch_size: int, world: World) -> Assigned:
        """For update `step` with `batch_size` images on all ranks together."""
        for pattern in self._live:
            pattern.value.grad = None
        bank = [*self._inverted, *self._ascended]
        which = list(self._positions(step, stage, batch_size, len(bank)))
        drawn_edits = self._drawn_edits(step, sum(one >= self._num_live + len(bank) for one in which))
        place_N2 = torch.from_numpy(generator(self._seed, "uar_places", step).random((batch_size, 2)))
        own = slice(world.rank, None, world.size)  # as the pairs of a batch are shared out
        return Assigned((*self._live, *bank, *drawn_edits), tuple(which[own]), place_N2[own])

    def ascend(self, step: int, world: World) -> None:
        """After the backward pass of update `step`: live patterns go up by the sign of the gradient of the
        whole batch's loss; one whose time is over goes to the bank."""
        values = [pattern.value for pattern in self._live]
        for value in values:
            if value.grad is None:  # carried by no image of this rank
                value.grad = torch.zeros_like(value)
        world.sum_gradients(values)
        for number, (pattern, value) in enumerate(zip(self._live, values, strict=True)):
            assert value.grad is not None
            with torch.no_grad():
                ascended = (value + self._recipe.live_step * value.grad.sign()).clamp(0, 1)
            if (step + 1 + self._offset(number)) % self._recipe.live_updates == 0:
                self._ascended.append(Pattern(pattern.family, ascended))
                self._live[number] = self._drawn(number, step + 1)
            else:
                self._live[number] = Pattern(pattern.family, ascended.requires_grad_())
        kept = max(0, self._recipe.bank_size - len(self._inverted))
        self._ascended = (
            self._ascended[len(self._ascended) - kept :] if kept < len(self._ascended) else self._ascended
        )

    def families_to_invert(self) -> tuple[Family, ...]:
        """One for each pattern of an inversion."""
        recipe = self._recipe
        side = _side(recipe.inverted_patch_size, self._size)
        draws = generator(self._seed, "uar_fixed_places", self.num_inversions)
        places = draws.random((recipe.inverted_fixed_patches, 2)).tolist()
        return (
            *(Patch(side),) * recipe.inverted_patches,
            *(Patch(side, (row, column)) for row, column in places),
            *(Blend(recipe.inverted_blend_alpha),) * recipe.inverted_blends,
            *(Warp(recipe.warp_strength),) * recipe.inverted_warps,
            *(Colour(recipe.colour_radius),) * recipe.inverted_colours,
            *islice(cycle(self._edits), recipe.inverted_edits),
        )

    def add_inverted(self, patterns: Sequence[Pattern]) -> None:
        """Another inversion is done; its patterns stay in the bank."""
        self._inverted += [Pattern(pattern.family, pattern.value.detach()) for pattern in patterns]
        self.num_inversions += 1

    def export(self) -> dict[str, Tensor]:
        """All that is not drawn by the step, for a training state."""
        groups = {"live": self._live, "inverted": self._inverted, "climbed": self._ascended}
        found = {
            f"{group}:{number:05d}:{_text_of(pattern.family)}": pattern.value.detach()
            for group, patterns in groups.items()
            for number, pattern in enumerate(patterns)
        }
        return {_INVERSIONS: torch.tensor(self.num_inversions), **found}

    def restore(self, known: Mapping[str, Tensor]) -> None:
        """The inverse of `export`. Raises KeyError or ValueError for anything else."""
        self.num_inversions = int(known[_INVERSIONS])
        groups: dict[str, list[Pattern]] = {"live": [], "inverted": [], "climbed": []}
        for key in sorted(known.keys() - {_INVERSIONS}):
            group, _, text = key.split(":")
            family, value = _family_of(text), known[key].to(self._device)
            if tuple(value.shape) != family.shape(self._size):
                raise ValueError(f"{key} is not a pattern of its family")
            groups[group].append(Pattern(family, value.requires_grad_(group == "live")))
        self._live, self._inverted, self._ascended = groups["live"], groups["inverted"], groups["climbed"]

    def _positions(self, step: int, stage: Stage, batch_size: int, num_in_bank: int) -> Iterator[int]:
        num_live = _num_images(stage.live_share, batch_size) if self._num_live else 0
        num_bank = min(_num_images(stage.bank_share, batch_size), batch_size - num_live) if num_in_bank else 0
        first = step * num_live if num_live < self._num_live else 0
        yield from ((first + position) % self._num_live for position in range(num_live))
        draws = generator(self._seed, "uar_bank", step)
        yield from (self._num_live + int(n) for n in draws.integers(max(1, num_in_bank), size=num_bank))
        num_left = batch_size - num_live - num_bank
        num_edits = min(_num_images(stage.edit_share, batch_size), num_left)
        yield from range(self._num_live + num_in_bank, self._num_live + num_in_bank + num_edits)
        yield from (NO_PATTERN,) * (num_left - num_edits)

    def _drawn_edits(self, step: int, num: int) -> list[Pattern]:
        draws = generator(self._seed, "uar_edits", step)
        chosen = [self._edits[number] for number in draws.integers(len(self._edits), size=num)]
        most = max(kind.num_numbers for kind in edits.KINDS)
        value_NK = torch.from_numpy(draws.random((num, most))).to(torch.float32)
        value_NK = value_NK.to(self._device, non_blocking=True)
        return [
            Pattern(family, value_K[: family.num_numbers])
            for family, value_K in zip(chosen, value_NK, strict=True)
        ]

    def _drawn(self, number: int, step: int) -> Pattern:
        family = self._live_family(number, step)
        pattern = drawn(family, self._size, self._seed, "uar_live", number, step)
        return Pattern(family, pattern.value.to(self._device, non_blocking=True).requires_grad_())

    def _live_family(self, number: int, step: int) -> Family:
        """Patches first, each with a side of its own, then the others."""
        recipe = self._recipe
        if number < recipe.live_patches:
            sides = (recipe.min_patch_size, recipe.max_patch_size)
            least, most = (_side(share, self._size) for share in sides)
            return Patch(int(generator(self._seed, "uar_side", number, step).integers(least, most + 1)))
        others: tuple[Family, ...] = (
            *(Blend(recipe.blend_alpha),) * recipe.live_blends,
            *(Warp(recipe.warp_strength),) * recipe.live_warps,
            *(Colour(recipe.colour_radius),) * recipe.live_colours,
            *islice(cycle(self._edits), recipe.live_edits),
        )
        return others[number - recipe.live_patches]

    def _offset(self, number: int) -> int:
        """So that live patterns are not all young at the same time."""
        return number * self._recipe.live_updates // max(1, self._num_live)


def _num_images(share: float, batch_size: int) -> int:
    """At least one where the share is not 0."""
    return max(1, round(share * batch_size)) if share > 0 else 0


def _side(share: float, image_size: int) -> int:
    return min(image_size, max(1, round(share * image_size)))


_FAMILIES: dict[str, Callable[..., Family]] = {
    "patch": lambda side, *at: Patch(int(side), at or None),
    "blend": Blend,
    "warp": Warp,
    "colour": Colour,
    **{kind.__name__.lower(): kind for kind in edits.KINDS},
}


def _text_of(family: Family) -> str:
    match family:
        case Patch(side, at):
            return f"patch={','.join(map(repr, (side, *(at or ()))))}"
        case Blend(number) | Warp(number) | Colour(number) | edits.Edit(number):
            return f"{type(family).__name__.lower()}={number!r}"
    raise ValueError(f"{family} is not a family of a pool")


def _family_of(text: str) -> Family:
    name, numbers = text.split("=")
    return _FAMILIES[name](*map(float, numbers.split(",")))
