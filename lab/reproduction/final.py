"""UAR's final evaluation: which cells it has, part by part, and how long they take. Free of torch.

The parts are made from the grid of the reproduction: UAR stands wherever CleanCLIP's recipe does, on the same
subjects, seeds and pairs. Recipes come from the frozen decision; without one the candidate of `development`
stands in their place, so that the plan can be listed. Nothing is run here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from cleanclip.spec.recipe import CleanCLIPRecipe, Recipe, UARRecipe, WaNetOptions
from lab.reproduction import grid
from lab.reproduction.attackers import ATTACKERS_PLAN
from lab.reproduction.cells import Cell, Cleaning, Control, Subject, cell_id, subject_of
from lab.reproduction.development import NUM_PAIRS, UAR, VARIANTS
from lab.reproduction.freezing import Tower
from lab.reproduction.grid import Bed, Make, Question, in_order
from lab.reproduction.measured import Measured
from lab.testbed.options import BADNET, Implanted

Recipes = Mapping[Tower, UARRecipe]
CANDIDATE: Recipes = {"resnet": UAR, "vit": UAR}
NUM_IMAGES = (500, 1_000, 2_000, 4_000)
ABLATIONS = {
    "no inversion": "uar no inversion",
    "no weak stage": "uar strong alone",
    "no strong stage": "uar weak alone",
    "no CLIP term": "uar images alone",
    "patches alone": "uar patches alone",
    "blends alone": "uar blends alone",
    "inverted alone": "uar inverted alone",
    "K = 2": "uar two live",
    "K = 8": "uar eight live",
    "alpha": "uar weak blends",
    "half the share": "uar half the share",
    "warps and colours": "uar further families",
}
"""Name → the development variant whose options differ from UAR's in one thing."""

UAR_LONG: Mapping[str, Any] = {
    "epochs": 9,
    "strong_epochs": 3,
    "strong_live_share": 0.25,
    "strong_bank_share": 0.4,
    "weak_live_share": 0.15,
    "weak_bank_share": 0.3,
    "inversion_steps": 200,
    "reinversion_steps": 120,
    "inverted_patches": 12,
    "inverted_blends": 6,
    "live_patches": 6,
    "live_blends": 2,
    "consistency_weight": 20.0,
}
"""Longer stages, more patterns on more images, and a stronger tie to the input model's clean embeddings."""

_OTHER_QUESTIONS = ("lambda", "rate by epochs")
"""Of CleanCLIP's own options: there is nothing of UAR to put in their place."""


def questions(recipes: Recipes = CANDIDATE) -> tuple[Question, ...]:
    """All parts whose runs are cells, the most telling first."""
    tables = [
        Question(name=f"table: {one.name}", cells=_with_uar(one, recipes))
        for one in grid.questions()
        if one.name not in _OTHER_QUESTIONS
    ]
    return (
        *tables,
        as_question("never poisoned", never_poisoned(recipes)),
        as_question("ablations", ablations(recipes)),
        as_question("unpaired", unpaired(recipes)),
        as_question("number of images", fewer_images(recipes)),
    )


def as_question(name: str, rows: Rows) -> Question:
    """The cells of all rows."""
    return Question(name=name, cells=lambda seed: (make(seed) for make in rows.values()))


def with_uar(cell: Cell, recipes: Recipes) -> Cell | None:
    """The cell with UAR in the place of CleanCLIP's recipe; None where that is not the recipe of its tables.

    Where CleanCLIP has more epochs on fewer pairs, for as many updates, so has UAR.
    """
    if isinstance(cell, Subject) or not isinstance(cell.recipe, CleanCLIPRecipe):
        return None
    ours = recipes[subject_of(cell).options.tower]
    if isinstance(cell, Control):
        return replace(cell, recipe=ours) if cell.recipe == grid.CLEANCLIP else None
    times = cell.recipe.epochs // grid.CLEANCLIP.epochs
    is_the_tables = replace(grid.CLEANCLIP, epochs=times * grid.CLEANCLIP.epochs) == cell.recipe
    if not is_the_tables or times * cell.num_samples != NUM_PAIRS:
        return None
    return replace(cell, recipe=longer(ours, times))


def longer(recipe: UARRecipe, times: int) -> UARRecipe:
    """As many updates on a share of the pairs."""
    return replace(recipe, epochs=times * recipe.epochs, strong_epochs=times * recipe.strong_epochs)


def _with_uar(question: Question, recipes: Recipes) -> Callable[[int], Iterator[Cell]]:
    def cells(seed: int) -> Iterator[Cell]:
        found = (with_uar(cell, recipes) for cell in question.cells(seed))
        yield from (cell for cell in found if cell is not None)

    return cells


LEFT: dict[str, tuple[Implanted, Bed]] = {
    "Semantic, digits ResNet": (grid.OTHER_ATTACKS["Semantic (colour of the paper)"], grid.DIGITS),
    "Adaptive pattern, digits ResNet": (grid.OTHER_ATTACKS["Adaptive pattern"], grid.DIGITS),
    "WaNet, digits ResNet": (grid.PAPER_ATTACKS["WaNet (s = 6)"], grid.DIGITS),
    "Triangles, Fashion ViT": (grid.STRUCTURED_ATTACKS["Triangles"], grid.FASHION_VIT),
}
"""What UAR left with seed 1, and the family that CleanCLIP leaves most of."""


def remedies(recipes: Recipes) -> Rows:
    """CleanCLIP, then UAR with the result as its input model, as two jobs; against the warp also UAR with
    warps among its patterns. Not in the frozen plan: thought of after the rows of seed 1 were seen."""
    rows: Rows = {}
    for name, (attack, bed) in LEFT.items():
        then = recipes[bed.tower]
        rows[f"{name}: CleanCLIP, then UAR"] = _in_a_row(attack, bed, then)
        if isinstance(attack, WaNetOptions):
            warps = replace(then, live_warps=2, inverted_warps=4)
            rows[f"{name}: UAR with warps"] = _cleaning(attack, bed, warps)
    return rows


def beside_remedies(recipes: Recipes) -> Rows:
    """The same models as they are, and after either method alone."""
    alone = ("no defence", "CleanCLIP (1, 1)", "UAR")
    return {
        f"{name}: {method}": by_method(attack, bed, recipes)[method]
        for name, (attack, bed) in LEFT.items()
        for method in alone
    }


def _in_a_row(attack: Implanted, bed: Bed, then: Recipe) -> Make:
    return lambda seed: Cleaning(subject=grid.subject(attack, seed, bed), recipe=grid.CLEANCLIP, then=then)


VARIED: dict[str, tuple[Implanted, Bed]] = {
    "BadNet, ResNet": (BADNET, grid.FASHION),
    "Blended, ViT": (grid.PAPER_ATTACKS["Blended"], grid.FASHION_VIT),
    "Triangles, ViT": (grid.STRUCTURED_ATTACKS["Triangles"], grid.FASHION_VIT),
}
"""Models of the parts that look closer: rebound and what lies beyond zero-shot classification."""
ABLATED = {name: VARIED[name] for name in ("BadNet, ResNet", "Blended, ViT")}
"""Those of the parts that vary UAR: one a tower, because every row costs three runs."""

_LONGER_MODELS: dict[str, tuple[Implanted | None, Bed]] = {
    **VARIED,
    "Never poisoned, ResNet": (None, grid.FASHION),
    "Never poisoned, ViT": (None, grid.FASHION_VIT),
}

Rows = dict[str, Make]
"""Of a table: name → the row's cell of any seed."""


def never_poisoned(recipes: Recipes) -> Rows:
    """What cleaning costs where nothing was wrong, by every method."""
    return {
        f"{bed}: {name}": make for bed in grid.BEDS for name, make in by_method(None, bed, recipes).items()
    }


def by_method(attack: Implanted | None, bed: Bed, recipes: Recipes) -> Rows:
    """One model as it is, and after each method of the final evaluation."""
    methods: dict[str, Recipe] = {"CleanCLIP (1, 1)": grid.CLEANCLIP, "PAR": grid.PAR}
    methods["UAR"] = recipes[bed.tower]
    return {
        "no defence": lambda seed: grid.subject(attack, seed, bed),
        **{name: _cleaning(attack, bed, recipe) for name, recipe in methods.items()},
    }


def ablations(recipes: Recipes) -> Rows:
    """UAR with one thing changed."""
    usual, rows = vars(UAR), {}
    for model, (attack, bed) in ABLATED.items():
        for name, variant_name in ABLATIONS.items():
            variant = vars(VARIANTS[variant_name].recipe)
            changed = {option: value for option, value in variant.items() if value != usual[option]}
            rows[f"{model}: {name}"] = _cleaning(attack, bed, replace(recipes[bed.tower], **changed))
    return rows


def unpaired(recipes: Recipes) -> Rows:
    """Images of pairs stand among the ablations; here labelled images, whose labels are not read."""
    return {
        f"{model}: labelled images": _cleaning(
            attack, bed, replace(recipes[bed.tower], trained_on="labelled_images")
        )
        for model, (attack, bed) in ABLATED.items()
    }


def fewer_images(recipes: Recipes) -> Rows:
    """UAR with as many updates on fewer pairs."""
    return {
        f"{model}: {number:,} pairs": _cleaning(
            attack, bed, longer(recipes[bed.tower], NUM_PAIRS // number), number
        )
        for model, (attack, bed) in ABLATED.items()
        for number in NUM_IMAGES
    }


def longer_recipe(recipes: Recipes) -> Rows:
    """`uar-long`. Not in the frozen plan; its values are older than the freeze."""
    return {
        f"{model}: uar-long": _cleaning(attack, bed, replace(recipes[bed.tower], **UAR_LONG))
        for model, (attack, bed) in _LONGER_MODELS.items()
    }


def full(recipes: Recipes) -> Rows:
    """UAR itself on these models, to stand beside what was changed; most cells are of the tables."""
    return {
        f"{model}: UAR": _cleaning(attack, bed, recipes[bed.tower])
        for model, (attack, bed) in _LONGER_MODELS.items()
    }


def beyond_zero_shot(recipes: Recipes) -> Rows:
    """The varied models as they are and after each method."""
    return {
        f"{model}: {name}": make
        for model, (attack, bed) in VARIED.items()
        for name, make in by_method(attack, bed, recipes).items()
    }


def _cleaning(attack: Implanted | None, bed: Bed, recipe: Recipe, num_samples: int = NUM_PAIRS) -> Make:
    return lambda seed: Cleaning(
        subject=grid.subject(attack, seed, bed), recipe=recipe, num_samples=num_samples
    )


def plan_sha256() -> str:
    """Over the plan with the candidate in place of the frozen recipes, and over the attackers."""
    listed = [(one.name, [cell_id(cell) for cell in in_order([one])]) for one in questions()]
    return hashlib.sha256(json.dumps([listed, ATTACKERS_PLAN]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class PartPlan:
    """One part: its cells and what they need first, and those that are to be run; minutes of one core."""

    name: str
    cells: tuple[Cell, ...]
    missing: tuple[Cell, ...]
    minutes: float


def parts(
    asked: Iterable[Question],
    missing_of: Callable[[Sequence[Cell]], Sequence[Cell]],
    timed: Mapping[str, float],
) -> list[PartPlan]:
    """Each question with what is missing of it; a cell is counted in the first part that needs it.

    `missing_of`: those of some cells that are to be run; `timed`: `kind_of_run` → seconds.
    """
    counted: set[str] = set()
    found = []
    for question in asked:
        cells = in_order([question])
        missing = tuple(cell for cell in missing_of(cells) if cell_id(cell) not in counted)
        counted |= {cell_id(cell) for cell in missing}
        seconds = sum(seconds_of(cell, timed) for cell in missing)
        found.append(PartPlan(name=question.name, cells=cells, missing=missing, minutes=seconds / 60))
    return found


def kind_of_run(cell: Cell) -> str:
    """Runs of one kind take about as long as each other, by the number of their updates."""
    tower = subject_of(cell).options.tower
    method = cell.recipe.method if isinstance(cell, Cleaning) else "control"
    return f"{tower} {'subject' if isinstance(cell, Subject) else method}"


def seconds_of(cell: Cell, timed: Mapping[str, float]) -> float:
    """By the median of its kind; of a cleaning in proportion to its epochs times its samples."""
    seconds = timed[kind_of_run(cell)]
    if isinstance(cell, Cleaning) and isinstance(cell.recipe, UARRecipe):
        return seconds * cell.recipe.epochs * cell.num_samples / (UAR.epochs * NUM_PAIRS)
    return seconds


_MEASURING_S = 15.0
"""Of a cell: two audits of a small model."""


def timings(published: Iterable[Measured], uar_cpu_s: Iterable[tuple[Tower, float]]) -> dict[str, float]:
    """Medians by kind, from the published cells and from UAR's development rows."""
    seconds: dict[str, list[float]] = {}
    for run in published:
        subject = run.spec["options"] if run.spec["kind"] == "subject" else run.spec["subject"]["options"]
        method = (run.spec.get("recipe") or {}).get("method")
        kind = {"cleaning": method, "subject": "subject", "control": "control"}[run.spec["kind"]]
        seconds.setdefault(f"{subject['tower']} {kind}", []).append(run.wall_s)
    for tower, cpu_s in uar_cpu_s:
        seconds.setdefault(f"{tower} uar", []).append(cpu_s + _MEASURING_S)
    found = {kind: median(values) for kind, values in seconds.items()}
    found.setdefault("vit control", found["resnet control"])
    return found
