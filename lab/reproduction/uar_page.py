"""Writes the tables and the plot of docs/uar.md: `python -m lab.reproduction.uar_page`. Runs nothing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.reproduction import cost, document, front_plot
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
from lab.reproduction.opening import gate_of
from lab.reproduction.plots import COLOURS
from lab.reproduction.row_files import json_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, RAW = "uar.md", "development.jsonl"


def with_tables(page: str, folder: Path, final: FinalRows) -> str:
    """The page with every table between its marks, from the raw rows in `folder`."""
    rows = ROWS.read(folder / RAW)
    results = document.joined(document.read_raw(folder / document.RAW), final)
    tables = {
        "aims": aims_table(results).rstrip(),
        "development": methods_table(rows),
        "variants": variants_table(rows),
        "layers": layers_table(json_of(folder / "layers.jsonl")),
        "full size": full_size_table(json_of(folder / "uar-full-size.jsonl")),
        "cost": cost.table(json_of(folder / cost.OUT.name)),
    }
    for name, table in tables.items():
        first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, _, rest = page.partition(first)
        _, found, after = rest.partition(last)
        if not found:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = f"{before}{first}{table}\n{last}{after}"
    return page


def write(docs: Path, final: FinalRows) -> None:
    """The tables into the page, and the plot."""
    page, folder = docs / PAGE, docs / document.FOLDER
    page.write_text(with_tables(page.read_text(encoding="utf-8"), folder, final), encoding="utf-8")
    colours = dict(zip(METHODS[1:], COLOURS, strict=False)) | {CHANGED: "#8c8c8c"}
    front_plot.draw(dots(ROWS.read(folder / RAW)), colours, folder / "uar-front.svg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page."""
    argparse.ArgumentParser(prog="python -m lab.reproduction.uar_page", description=__doc__).parse_args(
        arguments
    )
    write(DOCS, read_final(DOCS / document.FOLDER, gate_of()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
