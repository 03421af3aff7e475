"""Every cell of the reproduction, in the order in which they are worth running. Free of torch.

A question is a list of cells with a name; tables and plots draw those of its cells that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from cleanclip.vocabulary.attack_options import (
    BadNetOptions,
    BlendedOptions,
    LabelConsistentOptions,
    TextTriggerOptions,
    WaNetOptions,
)
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe
from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.reproduction.cells import Cell, Cleaning, Control, Subject, cell_id, needs
from lab.testbed.options import BADNET, Bed, Implanted, OptimisedPattern, PaperColour, SubjectOptions

SEEDS = (1, 2, 3)


DIGITS = Bed("digits", "resnet")
FASHION = Bed("fashion_mnist", "resnet")
FASHION_VIT = Bed("fashion_mnist", "vit")
BEDS = (DIGITS, FASHION, FASHION_VIT)

PAPER_ATTACKS: dict[str, Implanted] = {
    "BadNet": BADNET,
    "Blended": BlendedOptions(pattern="uniform_fixed", alpha=0.2, pattern_seed=7),
    "WaNet (s = 6)": WaNetOptions(strength=6.0, pattern_seed=7),
    "Label-consistent": LabelConsistentOptions(pattern="gaussian_fixed", size=5 / 32, pattern_seed=7),
}
STRUCTURED_ATTACKS: dict[str, Implanted] = {
    "Stripes (fixed patch)": BadNetOptions(pattern="stripes_fixed", size=8 / 32, pattern_seed=7),
    "Triangles": BlendedOptions(pattern="triangles", alpha=0.15, cell=4 / 32),
    "Text": TextTriggerOptions(text="Watermarked"),
}
OTHER_ATTACKS: dict[str, Implanted] = {
    "Adaptive pattern": OptimisedPattern(),
    "Semantic (colour of the paper)": PaperColour(),
}

_RATE = 2e-4
CLEANCLIP = CleanCLIPRecipe(epochs=4, batch_size=64, learning_rate=_RATE, warmup_steps=50)
DEFENCES: dict[str, Recipe] = {
    "MMCL only (λ2 = 0)": replace(CLEANCLIP, lambda2=0.0),
    "Self-supervised only (λ1 = 0)": replace(CLEANCLIP, lambda1=0.0),
    "CleanCLIP (1, 1)": CLEANCLIP,
    "Supervised": SupervisedRecipe(epochs=12, batch_size=64, learning_rate=1e-3, warmup_steps=50),
}
PAR = PARRecipe(epochs=6, batch_size=64, initial_learning_rate=1e-3, learning_rate=3e-4)

QUICK_DEFENCES = DEFENCES | {"UAR": UARRecipe(learning_rate=5e-4)}
"""UAR's runs on the grid's other models are rows of a study whose code left the lab: docs/decisions/0094."""

BY_LAMBDA: dict[float, Recipe] = {
    weight: replace(CLEANCLIP, lambda2=weight) for weight in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
}
PAIRS = (1_000, 2_000, 4_000, 8_000)
POISON_SHARES = (0.003, 0.01, 0.03)
RATES = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3)
EPOCHS = (2, 4, 8)
BY_RATE_AND_EPOCHS: dict[tuple[float, int], Recipe] = {
    (rate, epochs): replace(CLEANCLIP, learning_rate=rate, epochs=epochs)
    for rate in RATES
    for epochs in EPOCHS
}
CLEAN_SET_POISONS = (0, 1, 2, 3, 4, 5)


Make = Callable[[int], Cell]
"""Seed → cell."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """`cells` of one seed in the order in which they are run, without what they need first."""

    name: str
    cells: Callable[[int], Iterable[Cell]]


def subject(
    attack: Implanted | None,
    seed: int,
    bed: Bed = DIGITS,
    *,
    poison_share: float = 0.03,
    ssl_weight: float = 0.0,
) -> Subject:
    """The test subject of these properties; the target is a yellow seven or a yellow sandal."""
    options = SubjectOptions(
        glyphs=bed.glyphs,
        tower=bed.tower,
        attack=attack,
        target_noun="seven" if bed.glyphs == "digits" else "sandal",
        poison_share=poison_share,
        ssl_weight=ssl_weight,
    )
    return Subject(options=options, seed=seed)


def paper_cells(bed: Bed, seed: int) -> Iterator[Cell]:
    """The paper's table for one dataset, architecture and seed."""
    for attack in PAPER_ATTACKS.values():
        yield from attacked_cells(subject(attack, seed, bed), DEFENCES.values())


def lambda_cells(seed: int) -> Iterator[Cell]:
    """λ2 for each of the paper's attacks."""
    for attack in PAPER_ATTACKS.values():
        for recipe in BY_LAMBDA.values():
            yield Cleaning(subject=subject(attack, seed), recipe=recipe)


def pairs_cell(seed: int, num_pairs: int) -> Cell:
    """Fewer pairs, the same number of updates."""
    recipe = replace(CLEANCLIP, epochs=CLEANCLIP.epochs * PAIRS[-1] // num_pairs)
    return Cleaning(subject=subject(BADNET, seed), recipe=recipe, num_samples=num_pairs)


def poison_share_cells(seed: int) -> Iterator[Cell]:
    """Fewer poisons in the pre-training."""
    for share in POISON_SHARES:
        yield from attacked_cells(subject(BADNET, seed, poison_share=share), [CLEANCLIP])


def front_cells(seed: int) -> Iterator[Cell]:
    """Learning rate by epochs."""
    for recipe in BY_RATE_AND_EPOCHS.values():
        yield Cleaning(subject=subject(BADNET, seed), recipe=recipe)


def structured_cells(bed: Bed, seed: int) -> Iterator[Cell]:
    """PAR's triggers against CleanCLIP and against PAR."""
    for attack in STRUCTURED_ATTACKS.values():
        yield from attacked_cells(subject(attack, seed, bed))


def attacked_cells(poisoned: Subject, recipes: Iterable[Recipe] = (CLEANCLIP, PAR)) -> Iterator[Cell]:
    """One subject as it is, and after each recipe."""
    yield poisoned
    for recipe in recipes:
        yield Cleaning(subject=poisoned, recipe=recipe)


def other_cells(seed: int) -> Iterator[Cell]:
    """The adaptive and the semantic attack; the adaptive pattern on models that were never poisoned, too."""
    for attack in OTHER_ATTACKS.values():
        yield from attacked_cells(subject(attack, seed))
    for recipe in (None, CLEANCLIP, PAR):
        yield adaptive_control(seed, recipe)


def adaptive_control(seed: int, recipe: Recipe | None = None) -> Control:
    """The adaptive pattern on the clean model that it was trained on, or on what `recipe` makes of that."""
    attacked = subject(OptimisedPattern(), seed).options
    return Control(subject=subject(None, seed), attacked=attacked, recipe=recipe)


def pretraining_cells(seed: int) -> Iterator[Cell]:
    """A model pre-trained with self-supervision added."""
    yield Cleaning(subject=subject(BADNET, seed), recipe=PAR)
    yield from attacked_cells(subject(BADNET, seed, ssl_weight=1.0))


def clean_set_cells(seed: int) -> Iterator[Cell]:
    """Poisons among the clean pairs."""
    for num_poisons in CLEAN_SET_POISONS:
        yield Cleaning(subject=subject(BADNET, seed), recipe=CLEANCLIP, num_poisons=num_poisons)


def questions() -> tuple[Question, ...]:
    """All of them, the most telling first; a cell may belong to several."""
    return (
        Question(name="paper digits resnet", cells=partial(paper_cells, DIGITS)),
        Question(name="structured digits resnet", cells=partial(structured_cells, DIGITS)),
        Question(name="other attacks", cells=other_cells),
        Question(name="poisons in the clean set", cells=clean_set_cells),
        Question(name="lambda", cells=lambda_cells),
        Question(name="paper fashion_mnist resnet", cells=partial(paper_cells, FASHION)),
        Question(name="paper fashion_mnist vit", cells=partial(paper_cells, FASHION_VIT)),
        Question(name="structured fashion_mnist vit", cells=partial(structured_cells, FASHION_VIT)),
        Question(name="pre-training with self-supervision", cells=pretraining_cells),
        Question(
            name="number of pairs", cells=lambda seed: (pairs_cell(seed, num_pairs) for num_pairs in PAIRS)
        ),
        Question(name="number of poisons", cells=poison_share_cells),
        Question(name="rate by epochs", cells=front_cells),
    )


def quick() -> tuple[Cell, ...]:
    """One model of one seed, the demo's attack, and what each defence makes of it."""
    return tuple(attacked_cells(subject(BADNET, SEEDS[0]), QUICK_DEFENCES.values()))


def in_order(asked: Iterable[Question]) -> tuple[Cell, ...]:
    """Every cell of these questions once, each after those that it needs; one seed after the other."""
    found: dict[str, Cell] = {}

    def add(cell: Cell) -> None:
        if cell_id(cell) not in found:
            for first in needs(cell):
                add(first)
            found[cell_id(cell)] = cell

    listed = tuple(asked)
    for seed in SEEDS:
        for question in listed:
            for cell in question.cells(seed):
                add(cell)
    return tuple(found.values())
