"""Markdown tables of what was run. Knows the grid and the results; says nothing about them.

A row is a group of runs that differ in their seed alone, which it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cleanclip.vocabulary.recipe import Recipe
from lab.reproduction import grid
from lab.reproduction.summary import (
    Group,
    MakeSubject,
    Pooled,
    Results,
    by_clean_set_poisons,
    by_lambda,
    by_pairs,
    by_rate_and_epochs,
    cleaned,
    spelled,
    subject,
)
from lab.testbed.options import BADNET, Bed, Implanted
from tools.reference.markdown import table

NOT_RUN, NOT_IMPLANTED = "not measured yet", "not implanted"
NEVER_POISONED = "Adaptive pattern on a model that was never poisoned"

AGAINST_FAILURES: dict[str, Recipe] = {"CleanCLIP (1, 1)": grid.CLEANCLIP, "PAR": grid.PAR}


def figures(named: Mapping[str, Group]) -> str:
    """A row a group: CA, CA lost, floor, ASR, top-5 ASR and PA. ASR has images of its own, and so an n."""
    of_images = ("n", "CA %", "CA lost, points", "n of ASR", "floor %", "ASR %", "top-5 ASR %", "PA %")
    rows = (_row(name, group) for name, group in named.items())
    return table(("", "seeds", *of_images), rows, ruler_of_figures="---:")


def _row(name: str, group: Group) -> list[str]:
    ca, asr = group.share("ca"), group.share("asr")
    if ca is None:
        is_pointless = group.not_implanted and not group.waiting
        return [name, "–", NOT_IMPLANTED if is_pointless else NOT_RUN, *[""] * 7]
    seeds = spelled(group.seeds)
    if group.not_implanted:
        seeds += f" ({NOT_IMPLANTED}: {spelled(group.not_implanted)})"
    n_of_asr = "" if asr is None else f"{asr.n:,}"
    shares = (group.share("untriggered"), asr, group.share("asr_top5"), group.share("pa"))
    after_n = [_text(share) for share in shares]
    return [name, seeds, f"{ca.n:,}", str(ca), _text(group.ca_lost()), n_of_asr, *after_n]


def _text(share: Pooled | None) -> str:
    return "" if share is None else str(share)


def attacked(
    results: Results, name: str, poisoned: MakeSubject, recipes: Mapping[str, Recipe]
) -> dict[str, Group]:
    """One attack's rows: as it is, then after each recipe. Under the gate there is nothing to defend.

    Where a recipe was run with some of the seeds only, the row before it is those without a defence.
    """
    before = results.over_seeds(poisoned)
    implanted, under_gate = before.implanted(), before.under_gate()
    rows = {f"{name}: **{NOT_IMPLANTED}**, no defence is judged": under_gate} if under_gate.runs else {}
    if under_gate.runs and not implanted.runs:
        return rows
    rows[f"{name}: no defence"] = implanted
    reported = {implanted.seeds}
    groups = {name: results.over_seeds(cleaned(poisoned, recipe)) for name, recipe in recipes.items()}
    for defence, after in groups.items():
        if after.runs and after.seeds not in reported:
            reported.add(after.seeds)
            which = "seed" if len(after.seeds) == 1 else "seeds"
            rows[f"{name}: no defence, {which} {spelled(after.seeds)} alone"] = implanted.only(after.seeds)
        rows[f"{name}: {defence}"] = after
    return rows


def by_attack(
    results: Results, attacks: Mapping[str, Implanted], bed: Bed, recipes: Mapping[str, Recipe]
) -> str:
    """Attacks on one dataset and one architecture, as they are and after each recipe."""
    rows: dict[str, Group] = {}
    for name, attack in attacks.items():
        rows |= attacked(results, name, subject(attack, bed), recipes)
    return figures(rows) + _not_implanted(results, attacks, bed)


def _not_implanted(results: Results, attacks: Mapping[str, Implanted], bed: Bed) -> str:
    """A sentence for each attack that was not implanted; what was tried: docs/reproduction-how.md."""
    groups = {name: results.over_seeds(subject(attack, bed)) for name, attack in attacks.items()}
    weak = {name: group for name, group in groups.items() if group.under_gate().runs}
    return "".join(f"\n{name} was not implanted here{group.weak_seeds()}.\n" for name, group in weak.items())


def quick(results: Results) -> str:
    """What `QUICK=1` runs."""
    return figures(attacked(results, "BadNet", subject(BADNET), grid.QUICK_DEFENCES))


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
        poisoned = partial(grid.subject, BADNET, poison_share=share)
        name = f"{round(poisoned(1).options.num_pairs * share)} poisons of 24,000 pairs"
        rows |= attacked(results, name, poisoned, {"CleanCLIP (1, 1)": grid.CLEANCLIP})
    return figures(rows)


def front(results: Results) -> str:
    """Learning rate by epochs."""
    groups = by_rate_and_epochs(results)
    return figures({f"rate {rate:g}, {epochs} epochs": group for (rate, epochs), group in groups.items()})


def controls(results: Results) -> str:
    """The adaptive pattern on models that were never poisoned: what it does without a backdoor."""
    recipes: dict[str, Recipe | None] = {"no defence": None, **AGAINST_FAILURES}
    return figures(
        {
            f"{NEVER_POISONED}: {name}": results.over_seeds(partial(grid.adaptive_control, recipe=recipe))
            for name, recipe in recipes.items()
        }
    )


def pretrainings(results: Results) -> str:
    """Pre-training with self-supervision added."""
    rows = attacked(results, "CLIP alone", subject(BADNET), AGAINST_FAILURES)
    return figures(
        rows
        | attacked(results, "CLIP and SSL", partial(grid.subject, BADNET, ssl_weight=1.0), AGAINST_FAILURES)
    )


def clean_set(results: Results) -> str:
    """Poisons among the clean pairs."""
    groups = by_clean_set_poisons(results)
    return figures({f"{number:,} poisons in 8,000 clean pairs": group for number, group in groups.items()})
