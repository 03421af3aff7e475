"""Writes docs/reproduction.md, its plots and its raw data from what was run.

Tables, plots and what the claims say of our cells are computed. Typed are sizes, what others published, and
what was tried to implant an attack (`grid.TRIED`), which the page marks.

The raw data are one line of JSON a cell; the document can be written from them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.reproduction import claims, clustering, grid, measured, plots, tables
from lab.reproduction.cells import (
    GATE,
    NUM_TEST,
    NUM_VALIDATION,
    Cell,
    Subject,
    cell_id,
    describe,
    optimised_for,
    started_from,
)
from lab.reproduction.clustering import Effects
from lab.reproduction.measured import Measured, contradiction, is_pointless
from lab.reproduction.running import Folders
from lab.reproduction.summary import Results

DOCUMENT, FOLDER, RAW = "reproduction.md", "reproduction", "cells.jsonl"

_PLOTS = {
    "lambda.svg": "ASR and CA by λ2",
    "front.svg": "CA against ASR by learning rate and epochs",
    "pairs.svg": "ASR and CA by number of clean pairs",
    "clean-set.svg": "ASR and CA by number of poisons among the clean pairs",
}


def gather(
    cells: Sequence[Cell], root: Path, raw: Path | None, *, say: Callable[[str], None] = print
) -> list[Measured]:
    """What `raw` holds, and what was run below `root` of the other cells, in the order of the grid.

    A model that was trained anew only for what starts from it keeps its published figures. What did not start
    from the model that it would stand beside is left out, and `say` gets a line that names it.
    """
    folders = Folders(root)
    known = {run.id: run for run in read_raw(raw)}
    found: dict[str, Measured] = {}
    pictures: dict[Subject, str] = {}
    for cell in cells:  # a subject comes before what starts from it
        run = known.get(cell_id(cell)) or folders.measured(cell)
        if run is None:
            continue
        before = None if isinstance(cell, Subject) else found.get(cell_id(started_from(cell)))
        against = contradiction(before, run) if before is not None else None
        if run.picture is not None and run.picture != pictures.setdefault(optimised_for(cell), run.picture):
            against = "was measured with another pattern than the subject of its seed"
        if against is None:
            found[run.id] = run
        else:
            say(f"left out: {run.id} ({describe(cell)}) {against}")
    return list(found.values())


def read_raw(path: Path | None) -> list[Measured]:
    """The cells of a raw file; none without one."""
    if path is None:
        return []
    return [measured.read(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def missing(cells: Sequence[Cell], runs: Sequence[Measured]) -> list[Cell]:
    """The cells that are still to be run."""
    results = Results(runs)
    return [cell for cell in cells if results.of(cell) is None and not is_pointless(cell, results.of)]


def write_all(cells: Sequence[Cell], runs: Sequence[Measured], docs: Path) -> None:
    """Document, plots and raw data below `docs`."""
    folder = docs / FOLDER
    _write_raw(runs, folder)
    results = Results(runs)
    drawn = plots.draw_all(results, folder)
    text = document(results, len(missing(cells, runs)), drawn, clustering.effects(cells, results))
    (docs / DOCUMENT).write_text(text, encoding="utf-8")


def write_quick(cells: Sequence[Cell], runs: Sequence[Measured], folder: Path) -> None:
    """The small subset's table and raw data, apart from the whole."""
    _write_raw(runs, folder)
    results = Results(runs)
    legend = _how_to_read(clustering.effects(cells, results))
    text = f"# The small subset of the reproduction\n\n{legend}\n{tables.quick(results)}"
    (folder / DOCUMENT).write_text(text, encoding="utf-8")


def _write_raw(runs: Sequence[Measured], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [measured.to_line(run) + "\n" for run in runs]
    (folder / RAW).write_text("".join(lines), encoding="utf-8")


def document(results: Results, num_missing: int, drawn: Sequence[str], effects: Effects) -> str:
    """The whole page. `drawn`: names of the plots; `effects`: of these results."""
    plot = {name: f"![{alt}]({FOLDER}/{name})\n" if name in drawn else "" for name, alt in _PLOTS.items()}
    return "\n".join(
        [
            "# What the paper claims, measured on small models that are really poisoned\n",
            "Written by `make reproduce`: tables, plots and what the claims say of our models are computed"
            " from the cells. Typed are sizes, what others published, and what was tried to implant an"
            f" attack, from single runs, which says so. {len(results):,} cells were run"
            f" ({results.hours:.1f} hours of single cores by the clock, pauses included,"
            f" {len(results.code)} version(s) of the code, which each cell names);"
            f" {_still_missing(num_missing)} Raw data: [{RAW}]({FOLDER}/{RAW}), a line a cell,"
            " weights by their digest.\n",
            _how_to_read(effects),
            "## The paper's table\n",
            *_paper(results),
            "## Ablations\n",
            "BadNet (λ2: all four), digits, ResNet.\n",
            f"### λ2\n\n{plot['lambda.svg']}\n{tables.lambdas(results)}",
            "### Number of clean pairs, with the same number of updates\n\n"
            f"{plot['pairs.svg']}\n{tables.pairs(results)}",
            f"### Number of poisons\n\n{tables.poison_shares(results)}",
            f"### Learning rate by epochs\n\n{plot['front.svg']}\n{tables.front(results)}",
            "## Where it fails\n",
            "PAR is Perturb and Recover (arXiv 2412.00727), the service's other method. Its authors draw"
            " their stripes anew for every picture; these are one fixed patch. No clean picture, neither of"
            " the pre-training nor of the cleaning, is on the semantic trigger's colour of paper.\n",
            "### Structured triggers, ResNet\n\n"
            + tables.failures(results, grid.STRUCTURED_ATTACKS, grid.DIGITS),
            "### Structured triggers, ViT\n\n"
            + tables.failures(results, grid.STRUCTURED_ATTACKS, grid.FASHION_VIT),
            "### A trigger trained against the defence; a semantic one\n\n"
            + tables.failures(results, grid.OTHER_ATTACKS, grid.DIGITS)
            + "\n"
            + tables.controls(results),
            f"### Pre-training with self-supervision added\n\n{tables.pretrainings(results)}",
            f"### Poisons among the clean pairs\n\n{plot['clean-set.svg']}\n{tables.clean_set(results)}",
            f"## The paper's claims\n\n{claims.paragraphs(claims.claims(), results)}",
            f"## Its open questions\n\n{claims.paragraphs(claims.questions(), results)}",
            f"## Had the models stopped learning?\n\n{tables.plateaus(results)}",
        ]
    )


def _still_missing(num_missing: int) -> str:
    if not num_missing:
        return "none is missing."
    return f"**{num_missing:,} are still to be run**, and rows without them say so."


def _how_to_read(effects: Effects) -> str:
    return (
        f"A figure is the share in % over the {NUM_TEST:,} test pictures of every seed that the row names,"
        " its 95 % interval (Wilson; for CA lost Newcombe's paired one) over these pictures, and in brackets"
        " the range of the seeds. n is of CA, CA lost and PA, the share of triggered pictures still given"
        " their own class. ASR and top-5 ASR, which has the target among the first five classes, leave out"
        " pictures of the target class: n of ASR. The floor is how often the same pictures are called the"
        " target without the trigger. A sentence says at most or more than a limit (5 % ASR, 3 points of CA)"
        " where the whole interval does, else undecided. A plot pools the seeds that its table names. A model"
        f" whose attack has an ASR under {100 * GATE:g} % before cleaning was not implanted: nothing is"
        " judged by it.\n\n"
        f"{_how_narrow(effects)}\n\n"
        f"Which λ2 balances best is chosen on {NUM_VALIDATION:,} validation pictures, of glyphs of their own."
        " The recipes of PAR and of supervised fine-tuning were chosen on test pictures of digits, seed 1"
        " (decisions 0053 and 0054): they have seen the test scans, and their rows on digits are no test of"
        " that choice. How the pictures, models, attacks and recipes are made:"
        " [reproduction, how](reproduction-how.md).\n"
    )


def _how_narrow(effects: Effects) -> str:
    """By how much the intervals should be wider."""
    text = (
        "Intervals take pictures for independent, but several are composed of one glyph: they are too narrow"
    )
    if not effects.ca:
        return f"{text}; by how much was not computed here."
    text += (
        f". Added up by glyph, the variance of CA is {_range(effects.ca)} times the binomial one, over"
        f" {len(effects.ca)} cells ({', '.join(effects.glyphs)}): intervals should be about"
        f" {_range([math.sqrt(effect) for effect in effects.ca])} times as wide."
    )
    if effects.ca_lost:
        wider = _range([math.sqrt(effect) for effect in effects.ca_lost])
        text += f" That of CA lost is {_range(effects.ca_lost)} times as large: {wider} times as wide."
    if effects.ca_pooled:
        text += (
            " Seeds share their glyphs: of the rows that pool seeds the variance of CA is"
            f" {_range(effects.ca_pooled)} times the binomial one."
        )
    if effects.left_out:
        text += f" Left out, as the glyphs were not at hand: {', '.join(effects.left_out)}."
    return f"{text} Of ASR and PA no cell keeps which pictures they are: theirs is not known."


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def _paper(results: Results) -> list[str]:
    return [f"### {bed}\n\n{tables.paper(results, bed)}" for bed in grid.BEDS]
