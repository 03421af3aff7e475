"""The front of docs/uar.md: CA lost against the worst family's ASR, a point for each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from lab.reproduction.developing import Row
from lab.reproduction.plots import COLOURS, panels, save

_METHODS = ("uar", "cleanclip", "par")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_VARIANT = "#8c8c8c"


def draw(rows: Sequence[Row], path: Path) -> None:
    """To the left what carries triggers, to the right clean models: CA lost alone. Bars: 95 % intervals."""
    figure, (attacked, clean) = panels(2)
    models = list(dict.fromkeys(row.model for row in rows))
    cleaned = [row for row in rows if row.test is not None and row.ca_lost is not None]
    for row in sorted(cleaned, key=lambda row: row.method in _METHODS):
        if row.test is not None and row.test.asr:
            _point(attacked, row, _MARKERS[models.index(row.model)])
    without = [row for row in cleaned if row.test is not None and not row.test.asr]
    for place, row in enumerate(without):
        assert row.ca_lost is not None
        lost = row.ca_lost
        errors = ([100 * (lost.value - lost.low)], [100 * (lost.high - lost.value)])
        clean.errorbar([place], [100 * lost.value], yerr=errors, color=_colour(row), fmt="o", ms=4, capsize=2)
    clean.set_xticks(range(len(without)), [f"{row.model}\n{row.method}" for row in without], fontsize=6)
    attacked.set_xscale("symlog", linthresh=0.1)
    attacked.axvline(1, color="black", lw=0.6, ls=":")
    for ax, title in ((attacked, "models with triggers"), (clean, "models that were never poisoned")):
        ax.axhline(1, color="black", lw=0.6, ls=":")
        ax.set_ylabel("CA lost, points")
        ax.set_title(title, fontsize=9)
    attacked.set_xlabel("ASR of the worst family, %")
    for name, colour in (*zip(_METHODS, COLOURS, strict=False), ("uar changed", _VARIANT)):
        attacked.errorbar([], [], color=colour, label=name, fmt="o", ms=4)
    for model, marker in zip(models, _MARKERS, strict=False):
        if any(row.model == model and row.test is not None and row.test.asr for row in rows):
            attacked.plot([], [], color="black", ls="", marker=marker, ms=4, label=model)
    attacked.legend(frameon=False, fontsize=7)
    save(figure, path)


def _point(ax: Axes, row: Row, marker: str) -> None:
    assert row.test is not None
    assert row.ca_lost is not None
    asr, lost = max(row.test.asr.values(), key=lambda one: one.value), row.ca_lost
    across = ([100 * (asr.value - asr.low)], [100 * (asr.high - asr.value)])
    up = ([100 * (lost.value - lost.low)], [100 * (lost.high - lost.value)])
    is_method = row.method in _METHODS
    ax.errorbar(
        [100 * asr.value],
        [100 * lost.value],
        xerr=across,
        yerr=up,
        color=_colour(row),
        fmt=marker,
        ms=5 if is_method else 3,
        lw=1 if is_method else 0.4,
        capsize=2 if is_method else 0,
    )


def _colour(row: Row) -> str:
    return COLOURS[_METHODS.index(row.method)] if row.method in _METHODS else _VARIANT
