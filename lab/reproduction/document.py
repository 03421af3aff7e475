"""Writes docs/reproduction.md, its plots and its raw data from what was run.

Tables, plots and what the claims say of our cells are computed. Typed are sizes, what others published, and
what was tried to implant an attack (`grid.TRIED`), which the page marks.

The raw data are one line of JSON a cell; the document can be written from them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.reproduction import claims, clustering, final_tables, fronts, grid, measured, plots, tables
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
from lab.reproduction.final_rows import FinalRows
from lab.reproduction.measured import Measured, contradiction, is_pointless
from lab.reproduction.running import Folders
from lab.reproduction.summary import Results

DOCUMENT, FOLDER, RAW = "reproduction.md", "reproduction", "cells.jsonl"

NOTHING_FINAL = FinalRows()

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

    A model that was trained again only for what starts from it keeps its published figures. What did not
    start from the model that it would stand beside is left out, and `say` gets a line that names it.
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


def write_all(
    cells: Sequence[Cell], runs: Sequence[Measured], docs: Path, final: FinalRows = NOTHING_FINAL
) -> None:
    """Document, plots and raw data below `docs`. `final`: UAR's rows; their raw files stay as they are."""
    folder = docs / FOLDER
    _write_raw(runs, folder)
    results = Results(runs)
    drawn = plots.draw_all(results, folder)
    fronts.draw(joined(runs, final), folder / fronts.NAME)
    text = document(runs, len(missing(cells, runs)), drawn, clustering.effects(cells, results), final)
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


def joined(runs: Sequence[Measured], final: FinalRows) -> Results:
    """What was published and what UAR's final evaluation gave, together."""
    return Results(runs, final.recipes, final.runs)


def document(
    runs: Sequence[Measured],
    num_missing: int,
    drawn: Sequence[str],
    effects: Effects,
    final: FinalRows = NOTHING_FINAL,
) -> str:
    """The whole page. `drawn`: names of the plots; `effects`: of these runs."""
    published, results = Results(runs), joined(runs, final)
    plot = {name: f"![{alt}]({FOLDER}/{name})\n" if name in drawn else "" for name, alt in _PLOTS.items()}
    return "\n".join(
        [
            "# What the paper claims, measured on small models that are really poisoned\n",
            "Written by `make reproduce`: tables, plots and the statements about the claims "
            "are computed from the cells. Sizes, figures of others and the attempts to "
            "implant an attack (single runs, marked as such) are typed by hand. "
            f"{len(published):,} cells were run ({published.hours:.1f} hours of single cores by "
            f"the clock, pauses included, {len(published.code)} version(s) of the code, which "
            f"each cell names); {_still_missing(num_missing)} Raw data: "
            f"[{RAW}]({FOLDER}/{RAW}), a line a cell, weights by their digest.\n",
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
            " their stripes again for every image; these are one fixed patch. No clean image, neither of"
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
            *final_tables.sections(results, final, FOLDER),
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
        f"Each figure is a percentage over {NUM_TEST:,} test images per seed of the row, with "
        "its 95 % interval (Wilson; for CA lost Newcombe's paired one) over these "
        "images, and in brackets the range of the seeds. n is of CA, CA lost and PA, the "
        "share of triggered images still given their own class. ASR and top-5 ASR (the target "
        "is among the first five classes) leave out images of the target class and have their "
        "own n. The floor is how often the same images are classified as the target without "
        'the trigger. "At most" and "more than" a limit (5 % ASR, 3 points of CA) mean '
        "that the whole interval is; otherwise the sentence says undecided. A plot pools the "
        f"seeds of its table. If an attack has an ASR under {100 * GATE:g} % before cleaning "
        "it was not implanted, and nothing is concluded from "
        f"it.\n\n{_how_narrow(effects)}\n\nWhich λ2 balances best is chosen on "
        f"{NUM_VALIDATION:,} validation images, of separate glyphs. The recipes of PAR and of "
        "supervised fine-tuning were chosen on test images of digits, seed 1 (decisions 0053 "
        "and 0054): that choice used the test scans, so their rows on digits do not test it. "
        "How the images, models, attacks and recipes are made: [reproduction, how](reproduction-how.md).\n"
    )


def _how_narrow(effects: Effects) -> str:
    """By how much the intervals should be wider."""
    text = (
        "The intervals treat images as independent, but several images are composed of one glyph, so the "
        "intervals are too narrow"
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
        text += f" Left out, because the glyphs were not available: {', '.join(effects.left_out)}."
    return f"{text} For ASR and PA it is not known, because no cell records which images they are."


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def _paper(results: Results) -> list[str]:
    return [f"### {bed}\n\n{tables.paper(results, bed)}" for bed in grid.BEDS]
