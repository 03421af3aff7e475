"""The tables of docs/uar/edits.md, from the raw rows of `python -m lab.repair`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.recipe import UARRecipe
from lab.repair.plan import FROZEN, RECIPES, Part, models
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "uar" / "repair.jsonl"
_NAMES = {"version 1": "`uar`", "h": "`uar` with edits"}
_UNCHANGED = ("learning_rate", "warmup_steps", "batch_size")


@cache
def rows() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """By model and recipe; the last line of each."""
    lines = [json.loads(line) for line in _ROWS.read_text(encoding="utf-8").splitlines()]
    return {(one["model"], one["recipe"]): one for one in lines}


def by_model(part: Part) -> str:
    """Every model of a part: ASR and CA lost of the frozen recipes."""
    headings = ["data, tower", "trigger", "before"]
    headings += [f"{_NAMES[one]}: {what}" for one in FROZEN for what in ("ASR", "CA lost")]
    return table(headings, _of_models(part))


def _of_models(part: Part) -> Iterator[list[str]]:
    for model in models(part):
        before = rows().get((model.name, "before"))
        found = [rows().get((model.name, one)) for one in FROZEN]
        if before is None or not any(found):
            continue
        cells = [cell for row in found for cell in (_asr(row), _lost(row))]
        yield [model.bed.replace("-", ", "), model.family, _asr(before), *cells]


def tried(_kept: object = None) -> str:
    """Every recipe that was tried on a development model, what it changes, and what it gave."""
    known = [
        (model, one) for one in RECIPES for model in models("development") if (model.name, one) in rows()
    ]
    usual = asdict(UARRecipe())

    def changed(recipe: str, options: Mapping[str, Any]) -> str:
        differs = {name: value for name, value in options.items() if usual[name] != value}
        return ", ".join(f"{name} {value:g}" for name, value in differs.items() if name not in _UNCHANGED)

    lines = []
    for model, recipe in known:
        row = rows()[model.name, recipe]
        where = f"{model.bed}, {model.family}"
        lines.append([recipe, changed(recipe, row["options"]) or "–", where, _asr(row), _lost(row)])
    return table(["recipe", "what it changes", "model", "ASR", "CA lost"], lines)


def _asr(row: Mapping[str, Any] | None) -> str:
    if row is None or row["asr"] is None:
        return "–"
    asr = Estimate(**row["asr"])
    return f"{100 * asr.value:.1f} ({100 * asr.low:.1f} to {100 * asr.high:.1f})"


def _lost(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    lost = Difference(**row["lost"])
    return f"{100 * lost.value:.1f} ({100 * lost.low:.1f} to {100 * lost.high:.1f})"


MAKERS: Mapping[str, Maker] = {
    "repair held out": lambda kept: by_model("held_out"),
    "repair development": lambda kept: by_model("development"),
    "repair tried": tried,
}
