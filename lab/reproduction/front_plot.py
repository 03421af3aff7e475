"""Fronts: CA lost against the ASR of the worst family, clean models apart. Knows no rows and no cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from lab.reproduction.plots import panels, save

_MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_LINEAR = 0.1
"""CA lost beyond it is drawn by its logarithm."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A share as it is drawn: at `value`, with a bar from `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One model after one method. `model` chooses the marker; `asr` None: it was never poisoned."""

    model: str
    method: str
    title: str
    asr: Span | None
    lost: Span
    is_small: bool = False


def draw(dots: Sequence[Dot], colours: Mapping[str, str], path: Path, *, bounds: str = "") -> None:
    """To the left what carries triggers, to the right clean models: CA lost alone.

    `colours`: of every title of the legend. `bounds`: what the axes say beside their names.
    """
    figure, (attacked, clean) = panels(2)
    poisoned = [dot for dot in dots if dot.asr is not None]
    models = list(dict.fromkeys(dot.model for dot in dots))
    for dot in sorted(poisoned, key=lambda dot: not dot.is_small):
        marker = _MARKERS[models.index(dot.model)]
        _errorbar(attacked, dot, dot.asr, colours[dot.title], marker)
    never = [dot for dot in dots if dot.asr is None]
    rows = {name: [dot for dot in never if dot.model == name] for name in models}
    rows = {name: row for name, row in rows.items() if row}
    for place, row in enumerate(rows.values()):
        for number, dot in enumerate(row):  # beside each other, so that bars do not hide bars
            across = (place + 0.1 * (number - (len(row) - 1) / 2)) / 100
            _errorbar(clean, dot, Span(value=across, low=across, high=across), colours[dot.title])
    clean.set_xticks(range(len(rows)), list(rows), fontsize=7)
    clean.set_xlim(-0.5, max(len(rows), 1) - 0.5)
    attacked.set_xscale("symlog", linthresh=0.1)
    attacked.axvline(1, color="black", lw=0.6, ls=":")
    for ax, title in ((attacked, "models with triggers"), (clean, "models that were never poisoned")):
        ax.axhline(1, color="black", lw=0.6, ls=":")
        ax.set_ylabel(f"CA lost, points{bounds}")
        ax.set_title(title, fontsize=9)
    attacked.set_xlabel(f"ASR of the worst family, %{bounds}")
    for title, colour in colours.items():
        attacked.errorbar([], [], color=colour, label=title, fmt="o", ms=4)
    for model, marker in zip(models, _MARKERS, strict=False):
        if any(dot.model == model for dot in poisoned):
            attacked.plot([], [], color="black", ls="", marker=marker, ms=4, label=model)
    if any(dot.lost.value > _MOST_LINEAR for dot in poisoned):
        attacked.set_yscale("symlog", linthresh=100 * _MOST_LINEAR)
    for axis in (attacked.xaxis, attacked.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    figure.legend(frameon=False, fontsize=7, ncols=5, loc="outside lower center")
    save(figure, path)


def _errorbar(ax: Axes, dot: Dot, across: Span | None, colour: str, marker: str = "o") -> None:
    assert across is not None
    ax.errorbar(
        [100 * across.value],
        [100 * dot.lost.value],
        xerr=_around(across),
        yerr=_around(dot.lost),
        color=colour,
        fmt=marker,
        ms=3 if dot.is_small else 5,
        lw=0.4 if dot.is_small else 1,
        capsize=0 if dot.is_small else 2,
    )


def _around(share: Span) -> tuple[list[float], list[float]] | None:
    if share.low == share.high:
        return None
    return [100 * (share.value - share.low)], [100 * (share.high - share.value)]
