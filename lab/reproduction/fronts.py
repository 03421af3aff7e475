"""Every method at its worst family, for each dataset and architecture: the front's table and its dots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cleanclip.spec.recipe import Recipe
from lab.reproduction import final, front_plot, grid
from lab.reproduction.front_plot import Dot, Span
from lab.reproduction.grid import Bed
from lab.reproduction.groups import cleaned, subject
from lab.reproduction.plots import COLOURS
from lab.reproduction.summary import Group, Pooled, Results, spelled
from lab.reproduction.tables import NOT_RUN, figures, table
from lab.testbed.options import Implanted

NAME = "methods.svg"
FAMILIES: Mapping[Bed, Mapping[str, Implanted]] = {
    grid.DIGITS: grid.ATTACKS,
    grid.FASHION: grid.PAPER_ATTACKS,
    grid.FASHION_VIT: grid.PAPER_ATTACKS | grid.STRUCTURED_ATTACKS,
}
METHODS: Mapping[str, Recipe | None] = {"UAR": None, **grid.DEFENCES, "PAR": grid.PAR}
"""None: the recipe of the results."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """One method in one place: what it did to each family that was implanted and cleaned."""

    bed: Bed
    method: str
    by_family: Mapping[str, Group]

    @property
    def worst(self) -> tuple[str, Pooled] | None:
        """The family with the highest upper bound of ASR."""
        return _highest({name: group.share("asr") for name, group in self.by_family.items()})

    @property
    def costliest(self) -> tuple[str, Pooled] | None:
        """The family whose cleaning lost the most clean accuracy, by the upper bound."""
        return _highest({name: group.ca_lost() for name, group in self.by_family.items()})


def fronts(results: Results) -> list[Front]:
    """Of every place and method, whether anything of it was run or not."""
    found = []
    for bed, families in FAMILIES.items():
        for method, recipe in METHODS.items():
            groups = {name: _group(results, attack, bed, recipe) for name, attack in families.items()}
            done = {name: group for name, group in groups.items() if group.runs}
            found.append(Front(bed=bed, method=method, by_family=done))
    return found


def front_table(results: Results) -> str:
    """A row for each place and method."""
    headings = (
        "",
        "seeds",
        "families",
        "worst family",
        "n of ASR",
        "ASR %",
        "family with most CA lost",
        "n",
        "CA lost",
    )
    rows = []
    for one in fronts(results):
        name, worst, costliest = f"{one.bed}: {one.method}", one.worst, one.costliest
        if worst is None or costliest is None:
            rows.append([name, "–", NOT_RUN, *[""] * 6])
            continue
        seeds = sorted({seed for group in one.by_family.values() for seed in group.seeds})
        rows.append(
            [
                name,
                spelled(seeds),
                f"{len(one.by_family)} of {len(FAMILIES[one.bed])}",
                *(worst[0], f"{worst[1].n:,}", str(worst[1])),
                *(costliest[0], f"{costliest[1].n:,}", str(costliest[1])),
            ]
        )
    return table(headings, rows)


def families_table(results: Results) -> str:
    """Every family whose trigger worked: what UAR, CleanCLIP and PAR leave of it, and what each costs."""
    shown = {"UAR": "UAR", "CleanCLIP (1, 1)": "CleanCLIP", "PAR": "PAR"}
    found = {(one.bed, one.method): one.by_family for one in fronts(results)}
    rows = []
    for bed, families in FAMILIES.items():
        rows.append([f"**{bed}**", *[""] * (len(shown) + 1)])
        for family, attack in families.items():
            own = found[bed, "UAR"].get(family)
            if own is None:
                continue
            before = results.before_uar(cleaned(subject(attack, bed), grid.CLEANCLIP), own.seeds).share("asr")
            cells = [_left(found[bed, method].get(family), len(own.seeds)) for method in shown]
            rows.append([family.partition(" (")[0], "" if before is None else _percent(before.value), *cells])
    return table(("", "before", *shown.values()), rows)


def _left(group: Group | None, num_seeds: int) -> str:
    """ASR and clean accuracy lost, each with its upper bound; `*` for fewer seeds than UAR's row has."""
    asr, lost = (group.share("asr"), group.ca_lost()) if group else (None, None)
    if group is None or asr is None or lost is None:
        return "–"
    shares = " / ".join(f"{_percent(one.value)} ({_percent(one.high)})" for one in (asr, lost))
    return f"{shares}{'*' if len(group.seeds) < num_seeds else ''}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def clean_table(results: Results) -> str:
    """What cleaning costs where nothing was wrong."""
    rows = final.never_poisoned(results.recipes)
    return figures({name: results.over_seeds(make) for name, make in rows.items()})


def draw(results: Results, path: Path) -> None:
    """A small dot for each family, a large one for the worst; upper bounds. The legend has every method."""
    places = fronts(results)
    measured = {one.method for one in places if one.worst is not None}
    titles = {method: method if method in measured else f"{method} ({NOT_RUN})" for method in METHODS}
    colours = {titles[method]: colour for method, colour in zip(METHODS, COLOURS, strict=True)}
    dots = [dot for one in places for dot in _dots(one, titles[one.method])]
    dots += _clean_dots(results, titles)
    front_plot.draw(dots, colours, path, bounds=" (upper bound)")


def _group(results: Results, attack: Implanted, bed: Bed, recipe: Recipe | None) -> Group:
    poisoned = subject(attack, bed)
    if recipe is None:
        return results.uar(cleaned(poisoned, grid.CLEANCLIP))
    return results.over_seeds(cleaned(poisoned, recipe))


def _dots(one: Front, title: str) -> Iterator[Dot]:
    worst, costliest = one.worst, one.costliest
    if worst is None or costliest is None:
        return
    both = [(group.share("asr"), group.ca_lost(), True) for group in one.by_family.values()]
    for asr, lost, is_small in [*both, (worst[1], costliest[1], False)]:
        if asr is not None and lost is not None:
            yield Dot(
                model=str(one.bed),
                method=one.method,
                title=title,
                asr=_upper(asr),
                lost=_upper(lost),
                is_small=is_small,
            )


def _clean_dots(results: Results, titles: Mapping[str, str]) -> Iterator[Dot]:
    for bed in grid.BEDS:
        for method, make in final.by_method(None, bed, results.recipes).items():
            lost = results.over_seeds(make).ca_lost()
            if lost is not None:
                yield Dot(model=str(bed), method=method, title=titles[method], asr=None, lost=_upper(lost))


def _upper(share: Pooled) -> Span:
    return Span(value=share.high, low=share.high, high=share.high)


def _highest(shares: Mapping[str, Pooled | None]) -> tuple[str, Pooled] | None:
    found = [(name, share) for name, share in shares.items() if share is not None]
    return max(found, key=lambda one: one[1].high, default=None)
