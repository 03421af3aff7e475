"""The raw rows of UAR's final evaluation, read past its gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.reproduction import beyond, developing, measured
from lab.reproduction.final import CANDIDATE, Recipes
from lab.reproduction.freezing import Gate
from lab.reproduction.measured import Measured
from lab.reproduction.rebound import is_of_the_part
from lab.reproduction.row_files import json_of, lines_of

RAW, ATTACKERS_RAW, BEYOND_RAW, REBOUND_RAW = (
    f"{name}.jsonl" for name in ("final", "attackers", "beyond", "rebound")
)


@dataclass(frozen=True, kw_only=True)
class FinalRows:
    """All that was run of it. `recipes`: the frozen ones; before the freeze the candidate, without a row."""

    recipes: Recipes = field(default_factory=lambda: CANDIDATE)
    runs: tuple[Measured, ...] = ()
    attackers: tuple[developing.Row, ...] = ()
    beyond: tuple[beyond.Beyond, ...] = ()
    rebound: tuple[dict[str, Any], ...] = ()
    """Those of the demo's models are not held out."""


def read_final(folder: Path, gate: Gate) -> FinalRows:
    """What the folder of raw rows has. Raises HeldOut if it has a row of UAR and no recipe is frozen."""
    runs = tuple(map(measured.read, lines_of(folder / RAW)))
    attackers = tuple(developing.ROWS.read(folder / ATTACKERS_RAW))
    past = tuple(beyond.ROWS.read(folder / BEYOND_RAW))
    further = tuple(json_of(folder / REBOUND_RAW))
    is_open = bool(gate.admit(runs) or attackers or past or any(map(is_of_the_part, further)))
    return FinalRows(
        recipes=gate.frozen().recipes if is_open else CANDIDATE,
        runs=runs,
        attackers=attackers,
        beyond=past,
        rebound=further,
    )
