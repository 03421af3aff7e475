"""Runs UAR's final evaluation, or says what it takes: `python -m lab.reproduction.finalising`.

Without --run it lists the parts: cells, how many are missing, minutes of one core. With --run it runs what is
missing, after the recipes were frozen in a commit; `--freeze RESNET.json VIT.json` writes that file.
Exit codes: 0 done, 1 something failed or is missing, 2 held out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cleanclip.spec.recipe import UARRecipe, parse
from lab.freezing import HeldOut
from lab.reproduction import auto_regret, beyond, developing, document, measured, rebound, uar_page
from lab.reproduction.attackers import ATTACKERS_PLAN
from lab.reproduction.cells import GATE, Cell, cell_id
from lab.reproduction.development import MODELS
from lab.reproduction.final import (
    CANDIDATE,
    PartPlan,
    Recipes,
    as_question,
    beyond_zero_shot,
    longer_rung,
    parts,
    questions,
    remedies,
    timings,
)
from lab.reproduction.final_rows import (
    ATTACKERS_RAW,
    BEYOND_RAW,
    RAW,
    REBOUND_RAW,
    REGRET_RAW,
    read_final,
)
from lab.reproduction.freezing import ADAPTER, FROZEN, ROOT, Frozen, Gate, Tower
from lab.reproduction.grid import Question, in_order
from lab.reproduction.grid import questions as published_questions
from lab.reproduction.measured import is_pointless
from lab.reproduction.opening import gate_of
from lab.reproduction.row_files import json_of, lines_of
from lab.reproduction.running import Folders
from lab.reproduction.scheduling import run_all, to_run
from lab.reproduction.summary import Results
from sanitizer.training.device import num_granted_cores

ATTACKERS, BEYOND, REBOUND, REGRET = "attackers", "beyond zero-shot", "rebound", "auto's regret"
REMEDIES, RUNG = "remedies for what UAR left", "auto's longer rung"
_ATTACKERS_MINUTES, _BEYOND_MINUTES, _REBOUND_MINUTES, _REGRET_MINUTES = 2.5, 1.0, 3.0, 12.0
"""A row: guessed, none was run."""
EXIT_DONE, EXIT_MISSING, EXIT_HELD_OUT = 0, 1, 2


def all_questions(recipes: Recipes, published: Results) -> tuple[Question, ...]:
    """Those of the plan, those that came later, and the varied subjects as they are and after each method.

    Without the cleanings of models whose attack was not implanted as published: these would be trained again
    only to find the same.
    """
    asked = (
        *questions(recipes),
        as_question(REMEDIES, remedies(recipes)),
        as_question(RUNG, longer_rung(recipes)),
        as_question(BEYOND, beyond_zero_shot(recipes)),
    )

    def worth_it(question: Question, seed: int) -> Iterator[Cell]:
        return (cell for cell in question.cells(seed) if not is_pointless(cell, published.of))

    return tuple(Question(name=one.name, cells=partial(worth_it, one)) for one in asked)


def plan_of(recipes: Recipes, docs: Path, root: Path, gate: Gate) -> list[PartPlan]:
    """All parts, with what is missing of each. What was published counts for nothing: models that are
    trained again here have other weights, so whatever UAR is compared with starts from these."""
    folder = docs / document.FOLDER
    published = document.read_raw(folder / document.RAW)
    rows = developing.ROWS.read(folder / "development.jsonl")
    uar = [(_tower(row.model), row.cpu_s) for row in rows if row.method == "uar" and row.cpu_s]
    known = {run.id: run for run in read_final(folder, gate).runs}
    folders = Folders(root)

    def missing_of(cells: Sequence[Cell]) -> list[Cell]:
        done = {cell_id(cell): run for cell in cells if (run := folders.measured(cell)) is not None}
        return to_run(cells, done, known, GATE)

    asked = all_questions(recipes, Results(published))
    *found, last = parts(asked, missing_of, timings(published, uar))
    seen = {(row.model, row.method) for row in developing.ROWS.read(folder / ATTACKERS_RAW)}
    attackers = sum((model, name) not in seen for model, names in ATTACKERS_PLAN for name in names)
    rebounds = len(rebound.missing(json_of(folder / REBOUND_RAW)))
    regrets = len(MODELS) - len(lines_of(folder / REGRET_RAW))
    to_look_at = len(last.cells) - len(beyond.ROWS.read(folder / BEYOND_RAW))
    return [
        *found,
        PartPlan(name=ATTACKERS, cells=(), missing=(), minutes=attackers * _ATTACKERS_MINUTES),
        PartPlan(name=REBOUND, cells=(), missing=(), minutes=rebounds * _REBOUND_MINUTES),
        PartPlan(name=REGRET, cells=(), missing=(), minutes=regrets * _REGRET_MINUTES),
        replace(last, minutes=last.minutes + to_look_at * _BEYOND_MINUTES),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """List the parts, freeze the recipes or run what is missing; returns the exit code."""
    given = _parser().parse_args(arguments)
    gate = gate_of(given.root)
    if given.freeze:
        return _freeze(given)
    try:
        recipes = gate.opened().recipes if given.run else CANDIDATE
        plan = plan_of(recipes, given.docs, given.folder, gate)
    except HeldOut as error:
        print(f"Held out: {error}", file=sys.stderr)
        return EXIT_HELD_OUT
    plan = [part for part in plan if _is_asked(part.name, given.part)]
    if given.write:
        write_pages(given.docs, gate)
        return EXIT_DONE
    if not given.run:
        for line in listed(plan):
            print(line)
        return EXIT_DONE
    return _run(given, plan, recipes)


def listed(plan: Sequence[PartPlan]) -> list[str]:
    """A line for each part, and the sum."""
    rows = [(one.name, f"{len(one.cells)}", f"{len(one.missing)}", one.minutes) for one in plan]
    rows.append(("all", "", "", sum(one.minutes for one in plan)))
    head = f"{'part':45} {'cells':>6} {'missing':>8} {'minutes':>8}"
    return [
        head,
        *(f"{name:45} {cells:>6} {missing:>8} {of_it:8.0f}" for name, cells, missing, of_it in rows),
    ]


def _run(given: argparse.Namespace, plan: Sequence[PartPlan], recipes: Recipes) -> int:
    folder = given.docs / document.FOLDER
    names = {part.name for part in plan}
    everything = all_questions(recipes, Results(document.read_raw(folder / document.RAW)))
    failed = run_all(
        in_order([one for one in everything if one.name in names]),
        given.folder,
        jobs=given.jobs,
        stop_after_s=None if given.minutes is None else 60 * given.minutes,
        known={run.id: run for run in read_final(folder, gate_of(given.root)).runs},
        say=lambda line: print(line, flush=True),
    )
    _write(in_order(everything), given.folder, folder / RAW)
    is_bad = bool(failed)
    if ATTACKERS in names:
        order = ["--attackers", "--folder", str(given.folder), "--raw", str(folder / ATTACKERS_RAW)]
        is_bad |= developing.main(order) != 0
    if REBOUND in names:
        rebound.run_part(recipes, given.folder, folder / REBOUND_RAW)
    if REGRET in names:
        auto_regret.main(["--folder", str(given.folder), "--raw", str(folder / REGRET_RAW)])
    if BEYOND in names:
        varied = in_order([one for one in everything if one.name == BEYOND])
        is_bad |= _run_beyond(varied, given.folder, folder / BEYOND_RAW) > 0
    write_pages(given.docs, gate_of(given.root))
    return EXIT_MISSING if is_bad else EXIT_DONE


def write_pages(docs: Path, gate: Gate) -> None:
    """docs/reproduction.md and the pages on UAR with all rows that are there. Raises HeldOut."""
    folder, cells = docs / document.FOLDER, in_order(published_questions())
    final = read_final(folder, gate)
    document.write_all(cells, document.read_raw(folder / document.RAW), docs, final)
    uar_page.write(docs, final)


def _write(cells: Sequence[Cell], root: Path, raw: Path) -> None:
    """What was run of `cells`, with the subjects that it started from."""
    runs = document.gather(cells, root, raw if raw.is_file() else None)
    raw.write_text("".join(measured.to_line(run) + "\n" for run in runs), encoding="utf-8")


def _run_beyond(cells: Sequence[Cell], root: Path, raw: Path) -> int:
    """How many cells have no weights here."""
    seen, without = {row.id for row in beyond.ROWS.read(raw)}, 0
    for cell in cells:
        if cell_id(cell) in seen:
            continue
        if not (Folders(root).of(cell) / "model.safetensors").is_file():
            without += 1
            continue
        beyond.ROWS.append(raw, beyond.measure(cell, root))
    return without


def _freeze(given: argparse.Namespace) -> int:
    """Write the decision; it counts once it is committed."""
    gate = gate_of(given.root)
    resnet, vit = (parse(UARRecipe, json.loads(path.read_text("utf-8"))) for path in given.freeze)
    frozen = Frozen(recipes={"resnet": resnet, "vit": vit}, **gate.today(), note=given.note)
    path = given.root / FROZEN
    path.write_bytes(ADAPTER.dump_json(frozen, indent=1) + b"\n")
    print(f"{path} is written. Commit it alone: the final evaluation is open from that commit on.")
    return EXIT_DONE


def _tower(model: str) -> Tower:
    return "vit" if model.startswith("vit") else "resnet"


def _is_asked(name: str, named: Sequence[str] | None) -> bool:
    return named is None or any(part in name for part in named)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.reproduction.finalising", description=__doc__)
    parser.add_argument("--run", action="store_true", help="run what is missing; without it, only list it")
    parser.add_argument("--write", action="store_true", help="write the pages from the rows; run nothing")
    parser.add_argument("--part", action="append", help="parts whose name contains one of these")
    parser.add_argument("--minutes", type=float, help="begin no cell after so many minutes")
    parser.add_argument("--jobs", type=int, default=num_granted_cores(), help="cells at a time, a core each")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "reproduction", help="weights and cells"
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", help="where raw rows are read and written"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository whose HEAD counts")
    parser.add_argument("--freeze", nargs=2, type=Path, metavar=("RESNET", "VIT"), help="recipes as JSON")
    parser.add_argument("--note", default="", help="with --freeze: why these")
    return parser


if __name__ == "__main__":
    sys.exit(main())
