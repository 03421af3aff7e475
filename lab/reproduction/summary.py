"""From cells to what a table says: the runs of several seeds together. Free of torch; draws nothing.

Counts of all seeds are added for the interval over images; beside it stands the range of the seeds. The gate
is per seed: what cleans a model whose attack was not implanted counts for nothing. What is compared is of the
same seeds: `Group.only`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from cleanclip.vocabulary.intervals import wilson
from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.recipe import Recipe
from lab.reproduction import grid
from lab.reproduction.cells import Cell, Cleaning, Subject, cell_id, subject_of
from lab.reproduction.grid import SEEDS, Make
from lab.reproduction.measured import Measured, is_implanted, is_pointless
from lab.testbed.options import BADNET, Bed, Implanted

ShareName = Literal["ca", "asr", "asr_including_target", "asr_top5", "pa", "untriggered"]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A share over all seeds' images; `seeds` are the shares of each."""

    value: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...]

    def __str__(self) -> str:
        text = f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        if len(self.seeds) > 1:
            text += f" ({100 * min(self.seeds):.1f}–{100 * max(self.seeds):.1f})"
        return text


@dataclass(frozen=True)
class Group:
    """The runs of one cell with several seeds.

    `not_implanted`: of a cleaning, the seeds whose attack was under the gate before; they have no run here.
    `waiting`: those whose attack was not, and that were not run.
    """

    by_seed: Mapping[int, Measured]
    not_implanted: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()

    @property
    def runs(self) -> tuple[Measured, ...]:
        """In the order of the seeds."""
        return tuple(self.by_seed.values())

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that were run."""
        return tuple(self.by_seed)

    def only(self, seeds: Iterable[int]) -> Group:
        """The runs with these seeds, to stand beside what was run with them."""
        wanted = set(seeds)
        return Group({seed: run for seed, run in self.by_seed.items() if seed in wanted}, self.not_implanted)

    def implanted(self) -> Group:
        """Of subjects: those whose attack reaches the gate."""
        return self.only(seed for seed, run in self.by_seed.items() if is_implanted(run))

    def under_gate(self) -> Group:
        """Of subjects: those whose attack was not implanted."""
        return self.only(seed for seed, run in self.by_seed.items() if not is_implanted(run))

    def share(self, name: ShareName) -> Pooled | None:
        """None where no run has it."""
        found = [share for run in self.runs if (share := getattr(run.test, name)) is not None]
        return pool(found)

    def weak_seeds(self) -> str:
        """Of subjects: " with seed 2" where the attack was implanted with another, "" where with none."""
        return f" with seed {spelled(self.under_gate().seeds)}" if self.implanted().runs else ""

    def ca_lost(self) -> Pooled | None:
        """Paired, over all seeds' images."""
        return _pool_lost([run.ca_lost for run in self.runs if run.ca_lost is not None])


class Results:
    """Every cell that was run, by its name."""

    def __init__(self, measured: Iterable[Measured]) -> None:
        self._by_id = {run.id: run for run in measured}

    def __len__(self) -> int:
        return len(self._by_id)

    def of(self, cell: Cell) -> Measured | None:
        """What the cell gave; None if it was not run."""
        return self._by_id.get(cell_id(cell))

    def over_seeds(self, make: Callable[[int], Cell]) -> Group:
        """The runs of `make(seed)` for every seed of the grid that was run."""
        cells = {seed: make(seed) for seed in SEEDS}
        not_implanted = tuple(seed for seed, cell in cells.items() if is_pointless(cell, self.of))
        found = {seed: self.of(cell) for seed, cell in cells.items() if seed not in not_implanted}
        waiting = tuple(
            seed
            for seed, run in found.items()
            if run is None and self.of(subject_of(cells[seed])) is not None
        )
        return Group({seed: run for seed, run in found.items() if run is not None}, not_implanted, waiting)

    @property
    def code(self) -> set[str]:
        """The versions of the code that the cells were made with."""
        return {run.made_with["code_sha256"] for run in self._by_id.values()}

    @property
    def hours(self) -> float:
        """Core hours of all cells."""
        return sum(run.wall_s for run in self._by_id.values()) / 3600


def pool(shares: Sequence[Estimate]) -> Pooled | None:
    """Counts added; None of none."""
    if not shares:
        return None
    successes, n = sum(share.successes for share in shares), sum(share.n for share in shares)
    low, high = wilson(successes, n)
    return Pooled(value=successes / n, low=low, high=high, n=n, seeds=tuple(share.value for share in shares))


def _pool_lost(found: Sequence[Difference]) -> Pooled | None:
    """The counts of paired differences added; None of none."""
    if not found:
        return None
    total = Difference(
        n=sum(lost.n for lost in found),
        both=sum(lost.both for lost in found),
        lost=sum(lost.lost for lost in found),
        gained=sum(lost.gained for lost in found),
    )
    seeds = tuple(lost.value for lost in found)
    return Pooled(value=total.value, low=total.low, high=total.high, n=total.n, seeds=seeds)


def spelled(seeds: Iterable[int]) -> str:
    """Seeds as people write them, with commas."""
    return ", ".join(map(str, seeds))


# Groups of runs that tables and plots speak of: cells that differ in their seed alone.

MakeSubject = Callable[[int], Subject]


def subject(attack: Implanted | None, bed: Bed = grid.DIGITS) -> MakeSubject:
    """The grid's subject of any seed."""
    return lambda seed: grid.subject(attack, seed, bed)


def cleaned(poisoned: MakeSubject, recipe: Recipe, num_poisons: int = 0) -> Make:
    """The cleaning of `poisoned` with a recipe."""
    return lambda seed: Cleaning(subject=poisoned(seed), recipe=recipe, num_poisons=num_poisons)


def by_lambda(results: Results, attack: Implanted) -> dict[float, Group]:
    """λ2 → what CleanCLIP with it leaves of an attack."""
    recipes = grid.BY_LAMBDA
    return {weight: results.over_seeds(cleaned(subject(attack), one)) for weight, one in recipes.items()}


def by_pairs(results: Results) -> dict[int, Group]:
    """Number of clean pairs → what is left of BadNet."""
    return {number: results.over_seeds(partial(grid.pairs_cell, num_pairs=number)) for number in grid.PAIRS}


def by_clean_set_poisons(results: Results) -> dict[int, Group]:
    """Number of poisons among the clean pairs → what is left of BadNet."""
    return {
        number: results.over_seeds(cleaned(subject(BADNET), grid.CLEANCLIP, number))
        for number in grid.CLEAN_SET_POISONS
    }


def by_rate_and_epochs(results: Results) -> dict[tuple[float, int], Group]:
    """(learning rate, epochs) → what is left of BadNet."""
    recipes = grid.BY_RATE_AND_EPOCHS
    return {which: results.over_seeds(cleaned(subject(BADNET), one)) for which, one in recipes.items()}
