"""The tables of docs/uar/edits.md and docs/uar/rivals.md, from the raw rows of `python -m lab.repair`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.uar_recipe import UARRecipe
from lab.repair.plan import FROZEN, RECIPES, RIVALS, SMALL, Part, models, rival_models
from tools.reference.markdown import Maker, points, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "uar" / "repair.jsonl"
_NAMES = {
    "before": "before",
    "version 1": "`uar`",
    "h": "`uar` with edits",
    "cleanclip": "CleanCLIP",
    "cleanclip then version 1": "CleanCLIP, then `uar`",
    **{one: f"arithmetic, alpha {one.split()[1]}" for one in RIVALS if one.startswith("tbar ")},
}
_IMPLANTED = 0.5


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
        if before is None or found[0] is None:
            continue
        cells = [cell for row in found for cell in (_asr(row), _lost(row))]
        yield [model.bed.replace("-", ", "), model.family, _asr(before), *cells]


def tried(_kept: object = None) -> str:
    """Every recipe that was tried on a development model, what it changes, and what it gave."""
    known = [
        (model, one)
        for one in RECIPES
        for model in models("development")
        if one not in RIVALS and (model.name, one) in rows()
    ]
    usual = asdict(UARRecipe())

    def changed(recipe: str, options: Mapping[str, Any]) -> str:
        differs = {name: value for name, value in options.items() if value != usual[name] and value != []}
        shown = {name: value for name, value in differs.items() if SMALL.get(name) != value}
        return ", ".join(f"{name} {value:g}" for name, value in shown.items())

    lines = []
    for model, recipe in known:
        row = rows()[model.name, recipe]
        where = f"{model.bed}, {model.family}"
        lines.append([recipe, changed(recipe, row["options"]) or "–", where, _asr(row), _lost(row)])
    return table(["recipe", "what it changes", "model", "ASR", "CA lost"], lines)


def rivals(part: Part) -> str:
    """What `uar` and its rivals make of each model, and which held-out models are still to be run."""
    lines = []
    for model in rival_models() if part == "held_out" else models(part):
        found = {one: rows().get((model.name, one)) for one in ("before", "version 1", *RIVALS)}
        is_run = any(found[one] for one in RIVALS)
        where, before = [model.bed.replace("-", ", "), model.family, model.seed], found["before"]
        if before is None or not is_run:
            lines += [[*where, "not run", "–", "–", "–", "–"]] if part == "held_out" else []
            continue
        weak = before["asr"] is not None and Estimate(**before["asr"]).value < _IMPLANTED
        for one, row in found.items():
            if row is not None:
                name = _NAMES[one] + (" (too weak)" if weak else "")
                num = "–" if row["asr"] is None else f"{row['asr']['n']:,}"
                lost = "–" if one == "before" else _lost(row)
                lines.append([*where, name, num, _asr(row), f"{row['ca']['n']:,}", lost])
    return table(["data, tower", "trigger", "seed", "method", "n of ASR", "ASR", "n", "CA lost"], lines)


def _asr(row: Mapping[str, Any] | None) -> str:
    if row is None or row["asr"] is None:
        return "–"
    asr = Estimate(**row["asr"])
    return points(asr.value, asr.low, asr.high)


def _lost(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    lost = Difference(**row["lost"])
    return points(lost.value, lost.low, lost.high)


MAKERS: Mapping[str, Maker] = {
    "repair held out": lambda kept: by_model("held_out"),
    "repair development": lambda kept: by_model("development"),
    "repair tried": tried,
    "rivals held out": lambda kept: rivals("held_out"),
    "rivals development": lambda kept: rivals("development"),
}
