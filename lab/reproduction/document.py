"""Writes docs/reproduction/tables.md, its plots and its raw data from what was run.

The raw data are one line of JSON a cell; the page can be written from them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lab.reproduction import grid, measured, plots, tables
from lab.reproduction.cells import (
    GATE,
    NUM_TEST,
    Cell,
    Subject,
    cell_id,
    describe,
    optimised_for,
    started_from,
)
from lab.reproduction.measured import Measured, contradiction, is_pointless
from lab.reproduction.running import Folders
from lab.reproduction.summary import Results

DOCUMENT, FOLDER, RAW = "tables.md", "reproduction", "cells.jsonl"

_HOW_TO_READ = (
    f"Each figure is a percentage over {NUM_TEST:,} test images per seed of the row, with its 95 % interval "
    "(Wilson; for CA lost Newcombe's paired one) over these images, and in brackets the range of the seeds. n"
    " is of CA, CA lost and PA, the share of triggered images still given their own class. ASR and top-5 ASR "
    "(the target is among the first five classes) leave out images of the target class and have their own n. "
    "The floor is how often the same images are classified as the target without the trigger. A plot pools "
    f"the seeds of its table. If an attack has an ASR under {100 * GATE:g} % before cleaning it was not "
    "implanted, and nothing is concluded from it. Intervals treat images as independent and so are "
    "[too narrow](../reproduction.md#how-far-to-trust-the-intervals).\n"
)

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


def write_all(cells: Sequence[Cell], runs: Sequence[Measured], docs: Path) -> None:
    """Page, plots and raw data below `docs`."""
    folder = docs / FOLDER
    _write_raw(runs, folder)
    drawn = plots.draw_all(Results(runs), folder)
    text = document(runs, len(missing(cells, runs)), drawn)
    (folder / DOCUMENT).write_text(text, encoding="utf-8")


def write_quick(cells: Sequence[Cell], runs: Sequence[Measured], folder: Path) -> None:
    """The small subset's table and raw data, apart from the whole."""
    _write_raw(runs, folder)
    results = Results(runs)
    text = f"# The small subset of the reproduction\n\n{_HOW_TO_READ}\n{tables.quick(results)}"
    (folder / DOCUMENT).write_text(text, encoding="utf-8")


def _write_raw(runs: Sequence[Measured], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [measured.to_line(run) + "\n" for run in runs]
    (folder / RAW).write_text("".join(lines), encoding="utf-8")


def document(runs: Sequence[Measured], num_missing: int, drawn: Sequence[str]) -> str:
    """The whole page. `drawn`: names of the plots."""
    results = Results(runs)
    failing = partial(tables.by_attack, results, recipes=tables.AGAINST_FAILURES)
    plot = {name: f"![{alt}]({name})\n" if name in drawn else "" for name, alt in _PLOTS.items()}
    return "\n".join(
        [
            "# Reproduction: the tables\n",
            f"Written by `make reproduce`. {len(results):,} cells were run, {_still_missing(num_missing)} "
            f"They took {results.hours:.1f} hours of single cores by the clock, pauses included, with "
            f"{len(results.code)} versions of the code, which each cell names. Raw data: [{RAW}]({RAW}), "
            "weights by their digest. [What they say](../reproduction.md); [UAR's rows](uar.md).\n",
            _HOW_TO_READ,
            "## The paper's table\n",
            *(
                f"### {bed}\n\n{tables.by_attack(results, grid.PAPER_ATTACKS, bed, grid.DEFENCES)}"
                for bed in grid.BEDS
            ),
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
            f"### Structured triggers, ResNet\n\n{failing(grid.STRUCTURED_ATTACKS, grid.DIGITS)}",
            f"### Structured triggers, ViT\n\n{failing(grid.STRUCTURED_ATTACKS, grid.FASHION_VIT)}",
            "### A trigger trained against the defence; a semantic one\n\n"
            f"{failing(grid.OTHER_ATTACKS, grid.DIGITS)}\n{tables.controls(results)}",
            f"### Pre-training with self-supervision added\n\n{tables.pretrainings(results)}",
            f"### Poisons among the clean pairs\n\n{plot['clean-set.svg']}\n{tables.clean_set(results)}",
        ]
    )


def _still_missing(num_missing: int) -> str:
    if not num_missing:
        return "none is missing."
    return f"**{num_missing:,} are still to be run**, and rows without them say so."
