"""Groups of runs that tables, plots and sentences speak of: cells that differ in their seed alone.

Draws nothing and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cleanclip.spec.recipe import Recipe
from lab.reproduction import grid
from lab.reproduction.cells import Cleaning, Subject
from lab.reproduction.grid import Bed, Make
from lab.reproduction.summary import Group, Results
from lab.testbed.options import BADNET, Implanted

MakeSubject = Callable[[int], Subject]


def subject(attack: Implanted | None, bed: Bed = grid.DIGITS) -> MakeSubject:
    """The grid's subject of any seed."""
    return lambda seed: grid.subject(attack, seed, bed)


def fewer_poisons(share: float) -> MakeSubject:
    """BadNet with that share of poisons in the pre-training."""
    return lambda seed: grid.subject(BADNET, seed, poison_share=share)


def self_supervised(seed: int) -> Subject:
    """BadNet with self-supervision in the pre-training."""
    return grid.subject(BADNET, seed, ssl_weight=1.0)


def cleaned(poisoned: MakeSubject, recipe: Recipe, num_poisons: int = 0) -> Make:
    """The cleaning of `poisoned` with a recipe."""
    return lambda seed: Cleaning(subject=poisoned(seed), recipe=recipe, num_poisons=num_poisons)


def by_lambda(results: Results, attack: Implanted) -> dict[float, Group]:
    """λ2 → what CleanCLIP with it leaves of an attack."""
    recipes = {weight: replace(grid.CLEANCLIP, lambda2=weight) for weight in grid.LAMBDAS}
    return {weight: results.over_seeds(cleaned(subject(attack), one)) for weight, one in recipes.items()}


def by_pairs(results: Results) -> dict[int, Group]:
    """Number of clean pairs → what is left of BadNet."""

    def make(place: int) -> Make:
        return lambda seed: list(grid.pairs_cells(seed))[place]

    return {number: results.over_seeds(make(place)) for place, number in enumerate(grid.PAIRS)}


def by_clean_set_poisons(results: Results) -> dict[int, Group]:
    """Number of poisons among the clean pairs → what is left of BadNet."""
    return {
        number: results.over_seeds(cleaned(subject(BADNET), grid.CLEANCLIP, number))
        for number in grid.CLEAN_SET_POISONS
    }


def by_rate_and_epochs(results: Results) -> dict[tuple[float, int], Group]:
    """(learning rate, epochs) → what is left of BadNet."""
    return {
        (rate, epochs): results.over_seeds(
            cleaned(subject(BADNET), replace(grid.CLEANCLIP, learning_rate=rate, epochs=epochs))
        )
        for rate in grid.RATES
        for epochs in grid.EPOCHS
    }


def control(results: Results, recipe: Recipe | None = None) -> Group:
    """The adaptive pattern on models that were never poisoned, as they are or after `recipe`."""
    return results.over_seeds(lambda seed: grid.adaptive_control(seed, recipe))
