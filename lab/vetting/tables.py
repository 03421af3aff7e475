"""The tables of docs/vetting.md from the draws. Free of torch.

Recall is a share of poisons with Wilson's interval. The AUROC is the mean placement of the poisons, with the
interval of DeLong's variance of placements; the clean pairs' part of it, 10,000 of them, is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, variance

from cleanclip.spec.measures import Z_95
from lab.vetting.cases import CASES, CONFIGURATIONS
from lab.vetting.measuring import Draw
from sanitizer.audits.statistics import wilson

SCORES = (
    "local_density",
    "disagreement",
    "residual",
    "trigger_direction",
    "mismatch",
    "mismatch by suspect",
    "sensitivity",
)


def write(page: Path, draws: Sequence[Draw]) -> None:
    """Put the tables between the page's markers."""
    text = page.read_text(encoding="utf-8")
    for name, lines in (
        ("recall", recall(draws)),
        ("all five", all_five(draws)),
        ("auroc", auroc(draws)),
    ):
        marked = re.compile(rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.S)
        table = "\n".join(lines)
        text = marked.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)  # type: ignore[misc]
    page.write_text(text, encoding="utf-8")


def recall(draws: Sequence[Draw]) -> Iterator[str]:
    """Share of the poisons in the worst 5 %, by case and configuration."""
    yield from _head("poison", *CONFIGURATIONS)
    for title, of_case in _by_case(draws):
        cells = []
        for configuration in CONFIGURATIONS:
            counted = [draw for draw in of_case if configuration in draw.found]
            num = sum(draw.num_poisons for draw in counted)
            cells.append(_share(sum(draw.found[configuration] for draw in counted), num))
        yield _row(title, *cells)


def all_five(draws: Sequence[Draw]) -> Iterator[str]:
    """Share of the draws with every poison in the worst 5 %."""
    yield from _head("poison", "draws", *CONFIGURATIONS)
    for title, of_case in _by_case(draws):
        cells = []
        for configuration in CONFIGURATIONS:
            counted = [draw for draw in of_case if configuration in draw.found]
            num = sum(draw.found[configuration] == draw.num_poisons for draw in counted)
            cells.append(f"{num}" if counted else "–")
        yield _row(title, str(len(of_case)), *cells)


def auroc(draws: Sequence[Draw]) -> Iterator[str]:
    """Of each score alone."""
    yield from _head("poison", *(name.replace("_", " ") for name in SCORES))
    for title, of_case in _by_case(draws):
        yield _row(
            title, *(_auroc([p for draw in of_case for p in draw.placement.get(s, [])]) for s in SCORES)
        )


def _by_case(draws: Sequence[Draw]) -> Iterator[tuple[str, list[Draw]]]:
    for case in CASES:
        of_case = [draw for draw in draws if draw.case == case.name]
        if of_case:
            yield f"{case.kind} ({case.name})", of_case


def _auroc(placements: Sequence[float]) -> str:
    if not placements:
        return "–"
    mean = fmean(placements)
    half = Z_95 * math.sqrt(variance(placements) / len(placements))
    return f"{mean:.3f} ({max(0.0, mean - half):.3f}–{min(1.0, mean + half):.3f})"


def _share(successes: int, n: int) -> str:
    if n == 0:
        return "–"
    one = wilson(successes, n)
    return f"{100 * one.value:.1f} ({100 * one.low:.1f}–{100 * one.high:.1f})"


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row("---", *["---:"] * (len(titles) - 1))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
