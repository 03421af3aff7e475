"""Plots of what was run, as SVG, the same bytes for the same figures. Says nothing about them.

Bars are 95 % intervals over the images of all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lab.reproduction import grid
from lab.reproduction.summary import (
    Group,
    Pooled,
    Results,
    ShareName,
    by_clean_set_poisons,
    by_lambda,
    by_pairs,
    by_rate_and_epochs,
)

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which people with colour blindness tell apart."""


def draw_all(results: Results, folder: Path) -> list[str]:
    """Every plot that has something to show; returns the names of the files."""
    by_attack = {name: by_lambda(results, attack) for name, attack in grid.PAPER_ATTACKS.items()}
    poisons = {"BadNet": by_clean_set_poisons(results)}
    figures = {
        "lambda": _two_panels(by_attack, "λ2", scale="symlog"),
        "pairs": _two_panels({"BadNet": by_pairs(results)}, "clean pairs", scale="log"),
        "front": _front(results),
        "clean-set": _two_panels(poisons, "poisons in 8,000 clean pairs", scale="linear"),
    }
    drawn = {f"{name}.svg": figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        _save(figure, folder / name)
    return list(drawn)


def _front(results: Results) -> Figure | None:
    figure, (ax,) = _panels(1)
    groups = by_rate_and_epochs(results)
    found = False
    for colour, epochs in zip(COLOURS, grid.EPOCHS, strict=False):
        points = []
        for rate in grid.RATES:
            group = groups[rate, epochs]
            ca, asr = group.share("ca"), group.share("asr")
            if ca is not None and asr is not None:
                points.append((asr, ca, rate))
        if points:
            found = True
            across = [100 * asr.value for asr, _, _ in points]
            _bars(ax, across, [ca for _, ca, _ in points], colour, f"{epochs} epochs")
            for asr, ca, rate in points:
                place = (100 * asr.value, 100 * ca.value)
                ax.annotate(f"{rate:g}", place, fontsize=7, xytext=(3, 3), textcoords="offset points")
    ax.set_xlabel("ASR %")
    ax.set_ylabel("CA %")
    ax.legend(frameon=False)
    return figure if found else None


def _two_panels(
    lines: Mapping[str, Mapping[float, Group] | Mapping[int, Group]], xlabel: str, *, scale: str
) -> Figure | None:
    """ASR to the left, CA to the right, a line a name."""
    figure, axes = _panels(2)
    found = False
    names: tuple[ShareName, ...] = ("asr", "ca")
    for ax, share in zip(axes, names, strict=True):
        for colour, (name, groups) in zip(COLOURS, lines.items(), strict=False):
            points = [
                (x, pooled) for x, group in groups.items() if (pooled := group.share(share)) is not None
            ]
            if points:
                found = True
                _bars(ax, [x for x, _ in points], [pooled for _, pooled in points], colour, name)
        ax.set_xscale(scale)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(f"{share.upper()} %")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    return figure if found else None


def _bars(ax: Axes, across: Sequence[float], shares: Sequence[Pooled], colour: str, name: str) -> None:
    value = [100 * share.value for share in shares]
    below = [100 * (share.value - share.low) for share in shares]
    above = [100 * (share.high - share.value) for share in shares]
    ax.errorbar(across, value, yerr=(below, above), color=colour, label=name, marker="o", ms=4, capsize=2)


def _panels(num_panels: int) -> tuple[Figure, list[Axes]]:
    """Beside each other."""
    figure = Figure(figsize=(4.6 * num_panels, 3.4), layout="constrained")
    axes = [figure.add_subplot(1, num_panels, number + 1) for number in range(num_panels)]
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    """As SVG, the same bytes for the same figure."""
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
