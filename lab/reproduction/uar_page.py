"""Writes the tables and the plot of the pages on UAR: `python -m lab.reproduction.uar_page`. Runs nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.reproduction import canaries, cost, document, front_plot
from lab.reproduction.developing import ROWS
from lab.reproduction.development_table import (
    CHANGED,
    METHODS,
    dots,
    full_size_table,
    layers_table,
    methods_table,
    variants_table,
)
from lab.reproduction.final_rows import FinalRows, read_final
from lab.reproduction.final_tables import aims_table
from lab.reproduction.fronts import families_table
from lab.reproduction.opening import gate_of
from lab.reproduction.plots import COLOURS
from lab.reproduction.row_files import json_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
RAW = "development.jsonl"
PAGES = {
    "uar.md": ("families",),
    "uar/evaluation.md": ("aims",),
    "uar/development.md": ("development", "variants", "canaries"),
    "uar/layers.md": ("layers",),
    "uar/cost.md": ("cost", "full size"),
}
"""Which tables each page has."""


def tables(folder: Path, final: FinalRows) -> Mapping[str, str]:
    """Every table by its name, from the raw rows in `folder`."""
    rows = ROWS.read(folder / RAW)
    results = document.joined(document.read_raw(folder / document.RAW), final)
    return {
        "families": families_table(results).rstrip(),
        "aims": aims_table(results).rstrip(),
        "development": methods_table(rows),
        "variants": variants_table(rows),
        "layers": layers_table(json_of(folder / "layers.jsonl")),
        "full size": full_size_table(json_of(folder / "uar-full-size.jsonl")),
        "cost": cost.table(json_of(folder / cost.OUT.name)),
        "canaries": canaries.table(canaries.ROWS.read(folder / "canaries.jsonl"), rows),
    }


def with_tables(docs: Path, final: FinalRows) -> Mapping[Path, str]:
    """Every page with its tables between their marks."""
    made = tables(docs / document.FOLDER, final)
    pages = {docs / name: (docs / name).read_text(encoding="utf-8") for name in PAGES}
    for path, names in zip(pages, PAGES.values(), strict=True):
        for name in names:
            first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
            before, _, rest = pages[path].partition(first)
            _, found, after = rest.partition(last)
            if not found:
                raise ValueError(f"{path.name} has no place for the table {name!r}")
            pages[path] = f"{before}{first}{made[name]}\n{last}{after}"
    return pages


def write(docs: Path, final: FinalRows) -> None:
    """The tables into the pages, and the plot."""
    for path, page in with_tables(docs, final).items():
        path.write_text(page, encoding="utf-8")
    folder = docs / document.FOLDER
    colours = dict(zip(METHODS[1:], COLOURS, strict=False)) | {CHANGED: "#8c8c8c"}
    front_plot.draw(dots(ROWS.read(folder / RAW)), colours, folder / "uar-front.svg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages."""
    argparse.ArgumentParser(prog="python -m lab.reproduction.uar_page", description=__doc__).parse_args(
        arguments
    )
    write(DOCS, read_final(DOCS / document.FOLDER, gate_of()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
