"""Coverage-guided fuzzing of the readers of checkpoints and datasets (lab/fuzz/): eight minutes a target.

Without the extra `fuzz` the seeds and all earlier findings are replayed instead, and the row says so.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from lab.drills.drill import Place, Row
from lab.fuzz.target import MODULES

NAME = "fuzzing"
TITLE = "Random bytes, guided by coverage, for every reader of an untrusted file"
SECONDS_A_TARGET = 480
SECONDS_A_TARGET_QUICK = 20
EXPECTED = (
    "read, or refused with a reason, within 20 s and 2.5 GB; no file written, nothing started or opened"
)


def run_target(place: Place, name: str, seconds: float) -> dict[str, Any]:
    """One target as JSON: how many inputs, and what went wrong."""
    # Loaded when the drill begins: PyTorch and the whole corpus come with them.
    running, replaying = import_module("lab.fuzz.run"), import_module("lab.fuzz.seeds")
    if not running.is_available():
        num_inputs, problems = replaying.replay(name)
        return {"times": num_inputs, "edges": None, "problems": problems}
    fuzzed = running.fuzz(name, seconds, place.folder / "fuzz" / name, seed=place.seed)
    problems = [path.name for path in fuzzed.findings]
    if not fuzzed.executions:
        problems.append(f"did not start: {fuzzed.log_tail[-200:]}")
    return {"times": fuzzed.executions, "edges": fuzzed.edges, "problems": problems}


def row_of(name: str, result: dict[str, Any]) -> Row:
    """A row from what `run_target` found."""
    problems = result["problems"]
    how = "the extra `fuzz` is not installed: only seeds and earlier findings were replayed"
    if result["edges"] is not None:
        how = f"{result['edges']} edges reached"
    return Row(
        broken=f"{name}: mutated inputs",
        times=result["times"],
        expected=EXPECTED,
        happened=f"{len(problems)} findings; {how}" + (f": {', '.join(problems)[:300]}" if problems else ""),
        ok=not problems and result["times"] > 0,
    )


def run(place: Place, *, quick: bool) -> list[Row]:
    """A row for each target, each in a piece of its own."""
    seconds = SECONDS_A_TARGET_QUICK if quick else SECONDS_A_TARGET
    return [row_of(name, place.piece(name, partial(run_target, place, name, seconds))) for name in MODULES]
