"""Writes docs/reproduction.md, its plots and its raw data from what was run. No figure in it is typed.

The raw data are one line of JSON a cell; the document can be written from them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from reproduction import claims, grid, measured, plots, tables
from reproduction.cells import NUM_TEST, NUM_VALIDATION, Cell, Subject, cell_id, describe
from reproduction.measured import Measured, contradiction, is_pointless
from reproduction.running import Folders
from reproduction.summary import Results

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
    for cell in cells:  # a subject comes before what starts from it
        run = known.get(cell_id(cell)) or folders.measured(cell)
        if run is None:
            continue
        before = None if isinstance(cell, Subject) else found.get(cell_id(cell.subject))
        against = contradiction(before, run) if before is not None else None
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
    (docs / DOCUMENT).write_text(document(results, len(missing(cells, runs)), drawn), encoding="utf-8")


def write_quick(runs: Sequence[Measured], folder: Path) -> None:
    """The small subset's table and raw data, apart from the whole."""
    _write_raw(runs, folder)
    text = f"# The small subset of the reproduction\n\n{_how_to_read()}\n{tables.quick(Results(runs))}"
    (folder / DOCUMENT).write_text(text, encoding="utf-8")


def _write_raw(runs: Sequence[Measured], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [measured.to_line(run) + "\n" for run in runs]
    (folder / RAW).write_text("".join(lines), encoding="utf-8")


def document(results: Results, num_missing: int, drawn: Sequence[str]) -> str:
    """The whole page."""
    plot = {name: f"![{alt}]({FOLDER}/{name})\n" if name in drawn else "" for name, alt in _PLOTS.items()}
    return "\n".join(
        [
            "# What the paper claims, measured on small models that are really poisoned\n",
            f"Written by `make reproduce`; no figure here is typed. {len(results):,} cells were run"
            f" ({results.hours:.1f} hours of single cores by the clock, pauses included,"
            f" {len(results.code)} version(s) of the code, which each cell names);"
            f" {_still_missing(num_missing)} Raw data: [{RAW}]({FOLDER}/{RAW}), a line a cell,"
            " weights by their digest.\n",
            _how_to_read(),
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
            "PAR is Perturb and Recover (arXiv 2412.00727), the service's other method.\n",
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
            f"## Had the poisoned models stopped learning?\n\n{tables.plateaus(results)}",
        ]
    )


def _still_missing(num_missing: int) -> str:
    if not num_missing:
        return "none is missing."
    return f"**{num_missing:,} are still to be run**, and rows without them say so."


def _how_to_read() -> str:
    return (
        f"A figure is the share in % over the {NUM_TEST:,} test pictures of every seed, its 95 % interval"
        " (Wilson;"
        " for CA lost Newcombe's paired one) over these pictures, and in brackets the range of the seeds."
        " ASR leaves"
        " out pictures of the target class; PA is the share of triggered pictures still given their own"
        " class; top-5"
        f" ASR has the target among the first five classes. Choices are made on {NUM_VALIDATION:,} validation"
        " pictures. An attack with an ASR under 50 % before cleaning was not implanted. Several pictures are"
        " composed of one glyph, so intervals are somewhat narrow. How the pictures, models, attacks and"
        " recipes are"
        " made: [reproduction, how](reproduction-how.md).\n"
    )


def _paper(results: Results) -> list[str]:
    return [f"### {bed}\n\n{tables.paper(results, bed)}" for bed in grid.BEDS]
