"""Markdown tables of what was run. Knows the grid and the results; says nothing about them.

A row is a group of runs that differ in their seed alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reproduction import grid
from reproduction.cells import GATE, Subject
from reproduction.grid import Bed
from reproduction.groups import (
    MakeSubject,
    by_clean_set_poisons,
    by_lambda,
    by_pairs,
    by_rate_and_epochs,
    cleaned,
    control,
    fewer_poisons,
    self_supervised,
    subject,
)
from reproduction.summary import Group, Pooled, Results, gain_at_end
from sanitizer.recipe import Recipe
from testbed.options import BADNET, Implanted

NOT_RUN = "not run"

AGAINST_FAILURES: dict[str, Recipe] = {"CleanCLIP (1, 1)": grid.CLEANCLIP, "PAR": grid.PAR}


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """One table; the first column is text, the others are figures."""
    ruler = ["---", *("---:" for _ in headings[1:])]
    return "".join("| " + " | ".join(line) + " |\n" for line in (headings, ruler, *rows))


def figures(named: Mapping[str, Group]) -> str:
    """A row a group: CA, CA lost, ASR, top-5 ASR and PA."""
    headings = ("", "seeds", "n", "CA %", "CA lost, points", "ASR %", "top-5 ASR %", "PA %")
    return table(headings, (_row(name, group) for name, group in named.items()))


def _row(name: str, group: Group) -> list[str]:
    ca = group.share("ca")
    if ca is None:
        return [name, "0", NOT_RUN, "", "", "", "", ""]
    shares = [ca, group.ca_lost(), group.share("asr"), group.share("asr_top5"), group.share("pa")]
    return [name, str(len(group.runs)), f"{ca.n:,}", *map(_text, shares)]


def _text(share: Pooled | None) -> str:
    return "" if share is None else str(share)


def attacked(
    results: Results, name: str, poisoned: MakeSubject, recipes: Mapping[str, Recipe]
) -> dict[str, Group]:
    """One attack's rows: as it is, then after each recipe. Under the gate there is nothing to defend."""
    before = results.over_seeds(poisoned)
    asr = before.share("asr")
    if asr is not None and asr.value < GATE:
        return {f"{name}: **not implanted**, no defence is judged": before}
    rows = {f"{name}: no defence": before}
    for defence, recipe in recipes.items():
        rows[f"{name}: {defence}"] = results.over_seeds(cleaned(poisoned, recipe))
    return rows


def paper(results: Results, bed: Bed) -> str:
    """The paper's table for one data set and one architecture."""
    rows: dict[str, Group] = {}
    for name, attack in grid.PAPER_ATTACKS.items():
        rows |= attacked(results, name, subject(attack, bed), grid.DEFENCES)
    return figures(rows) + "".join(
        f"\n{name} was not implanted here. Tried: {tried}.\n"
        for name, tried in grid.TRIED.items()
        if any(row.startswith(f"{name}: **not implanted**") for row in rows)
    )


def quick(results: Results) -> str:
    """What `QUICK=1` runs."""
    return figures(attacked(results, "BadNet", subject(BADNET), grid.DEFENCES))


def lambdas(results: Results) -> str:
    """λ2 by attack."""
    rows = {
        f"{name}, λ2 = {weight:g}": group
        for name, attack in grid.PAPER_ATTACKS.items()
        for weight, group in by_lambda(results, attack).items()
    }
    return figures(rows)


def pairs(results: Results) -> str:
    """Number of clean pairs."""
    return figures({f"{number:,} clean pairs": group for number, group in by_pairs(results).items()})


def poison_shares(results: Results) -> str:
    """Number of poisons in the pre-training."""
    rows: dict[str, Group] = {}
    for share in grid.POISON_SHARES:
        poisoned = fewer_poisons(share)
        name = f"{round(poisoned(1).options.num_pairs * share)} poisons of 24,000 pairs"
        rows |= attacked(results, name, poisoned, {"CleanCLIP (1, 1)": grid.CLEANCLIP})
    return figures(rows)


def front(results: Results) -> str:
    """Learning rate by epochs."""
    groups = by_rate_and_epochs(results)
    return figures({f"rate {rate:g}, {epochs} epochs": group for (rate, epochs), group in groups.items()})


def failures(results: Results, attacks: Mapping[str, Implanted], bed: Bed) -> str:
    """Attacks against CleanCLIP and PAR."""
    rows: dict[str, Group] = {}
    for name, attack in attacks.items():
        rows |= attacked(results, name, subject(attack, bed), AGAINST_FAILURES)
    return figures(rows)


def controls(results: Results) -> str:
    """The adaptive patch on models that never saw it in training."""
    return figures({"clean model, the patch as trigger": control(results)})


def pretrainings(results: Results) -> str:
    """Pre-training with self-supervision added."""
    rows = attacked(results, "CLIP alone", subject(BADNET), AGAINST_FAILURES)
    return figures(rows | attacked(results, "CLIP and SSL", self_supervised, AGAINST_FAILURES))


def clean_set(results: Results) -> str:
    """Poisons among the clean pairs."""
    groups = by_clean_set_poisons(results)
    return figures({f"{number} poisons in 8,000 clean pairs": group for number, group in groups.items()})


def plateaus(results: Results) -> str:
    """Whether the poisoned models had stopped learning: CA on validation pictures, last epochs."""
    rows: dict[tuple[str, ...], None] = {}
    for cell in grid.in_order(grid.questions()):
        run = results.of(cell)
        if run is None or not isinstance(cell, Subject):
            continue
        options = cell.options
        attack = "clean" if options.attack is None else options.attack.attack
        name = f"{Bed(options.glyphs, options.tower)}, {attack}, seed {cell.seed}"
        curve = ", ".join(f"{100 * ca:.1f}" for ca in run.ca_by_epoch[-4:])
        rows[name, f"{run.poisons:,}", curve, f"{100 * gain_at_end(run):+.1f}"] = None
    return table(("model", "poisons", "CA of the last four epochs", "last over the three before"), rows)
