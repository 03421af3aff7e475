"""The plots, as SVG to stand inside a page: ASR with its intervals, the rebound, and the loss.

Text stays text, the same report gives the same bytes, and colours are the page's own variables, so that a
plot is dark where the page is dark. Importing this module loads matplotlib; nothing but a rendering does.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree  # reads what matplotlib wrote a moment before, never what a stranger sent

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from cleanclip.spec.attack_options import kind_of_json
from cleanclip.spec.measures import Estimate
from cleanclip.spec.rebound_figures import ReboundFigures
from cleanclip.spec.report import MOST_ATTACKS_IN_FRONT, PARTS_OF_LOSS, CurvePoint, Report, thinned
from cleanclip.spec.untrusted import shown

_WIDTH_IN = 5.2
_ROW_IN = 0.42
_MAX_POINTS = 1_000
_MAX_LABEL = 24
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_INK, _FAINT, _BEFORE, _AFTER, _LIMIT, _PAPER = (f"#01010{number}" for number in range(1, 7))
_VARIABLES = {
    _INK: "--ink",
    _FAINT: "--line",
    _BEFORE: "--before",
    _AFTER: "--after",
    _LIMIT: "--limit",
    _PAPER: "--paper",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.parse_math": False,
    "text.usetex": False,
    "path.simplify": True,
    "axes.unicode_minus": True,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": _FAINT,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
}
ElementTree.register_namespace("", _SVG)


def success_rates(report: Report) -> str:
    """ASR of every attack before and after, with its interval, the gate and the limit."""
    with _style():
        num_rows = len(report.before.attacks)
        axes_in = _ROW_IN * num_rows
        height_in = axes_in + 0.95
        figure = Figure(figsize=(_WIDTH_IN, height_in))
        axes = figure.add_axes((0.24, 0.55 / height_in, 0.72, axes_in / height_in))
        is_cleaned = report.after is not None
        shift = 0.16 if is_cleaned else 0.0
        before = {"label": "before", "fmt": "s", "color": _BEFORE}
        after = {"label": "after", "fmt": "o", "color": _AFTER}
        _whiskers(axes, [one.asr for one in report.before.attacks], shift=-shift, looks=before)
        if report.after is not None:
            _whiskers(axes, [one.asr for one in report.after.attacks], shift=shift, looks=after)
            _mark_limits(axes, report)
        _mark(axes, report.audit.gate, "gate", "--")
        axes.set_xlim(-3, 103)
        axes.set_ylim(num_rows - 0.5, -0.5)
        labels = [shown(one.name, _MAX_LABEL) for one in report.before.attacks]
        axes.set_yticks(range(num_rows), labels)
        axes.set_xlabel("attack success rate, %")
        axes.grid(visible=True, axis="x", linewidth=0.5)
        _plain_spines(axes)
        _legend(figure, axes, num_last=2 if is_cleaned else 1)
        return _svg(figure, "asr", _alt_of_rates(report))


_LINES_OF_LOSS = {
    "loss": (_INK, "-"),
    "loss_clip": (_AFTER, "--"),
    "distance_image": (_AFTER, "-."),
    "distance_text": (_BEFORE, "-."),
}
"""The other parts are dotted; no method has two of them."""


_LINES_OF_REBOUND = ((_AFTER, "o", "-"), (_BEFORE, "s", "--"), (_LIMIT, "^", ":"))


def training_loss(points: Sequence[CurvePoint]) -> str:
    """The loss and the parts that the method has against the step."""
    with _style():
        figure = Figure(figsize=(_WIDTH_IN, 2.9))
        axes = figure.add_axes((0.12, 0.17, 0.84, 0.62))
        kept = thinned(points, _MAX_POINTS)
        steps = [point.step for point in kept]
        marker = "o" if len(kept) == 1 else None
        told = []
        for name, label in PARTS_OF_LOSS.items():
            colour, dashes = _LINES_OF_LOSS.get(name, (_BEFORE, ":"))
            values = [getattr(point, name) for point in kept]
            if None in values:  # another method's
                continue
            axes.plot(
                steps, values, color=colour, linestyle=dashes, linewidth=1.0, label=label, marker=marker
            )
            told.append(f"{label}: {values[0]:.3g} at first, {values[-1]:.3g} at last")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.grid(visible=True, linewidth=0.5)
        _plain_spines(axes)
        _legend(figure, axes, num_last=0)
        alt = f"Loss against step, from step {steps[0]} to step {steps[-1]}. " + "; ".join(told) + "."
        return _svg(figure, "loss", ("Loss while training", alt))


def rebound(report: Report, rebound: ReboundFigures) -> str:
    """ASR of the worst attacks against the updates of benign fine-tuning: a line for each curve, whiskers on
    the first, and the share of the same images without a trigger, which is what a clean model would show."""
    with _style():
        figure = Figure(figsize=(_WIDTH_IN, 2.9))
        axes = figure.add_axes((0.12, 0.17, 0.84, 0.62))
        told = []
        attacks = report.worst_attacks(MOST_ATTACKS_IN_FRONT)
        for number, (colour, marker, dashes) in zip(attacks, _LINES_OF_REBOUND, strict=False):
            name = shown(report.before.attacks[number].name, _MAX_LABEL)
            for curve in rebound.curves:
                steps = [point.step for point in curve.points]
                shares = [point.attacks[number].asr for point in curve.points]
                is_first = curve is rebound.curves[0]
                axes.errorbar(
                    steps,
                    [100 * one.value for one in shares],
                    yerr=_below_and_above(shares) if is_first else None,
                    color=colour,
                    marker=marker,
                    linestyle=dashes,
                    linewidth=1.0,
                    markersize=4,
                    capsize=2,
                    alpha=1.0 if is_first else 0.45,
                    label=name if is_first else None,
                )
            told.append(f"{name}: highest {_words(rebound.highest[number].asr)}.")
        first = rebound.curves[0].points
        floor = [100 * point.attacks[attacks[0]].untriggered_target_rate.value for point in first]
        steps = [point.step for point in first]
        axes.plot(steps, floor, color=_INK, linestyle="-.", linewidth=0.8, label="without trigger")
        ordered = report.audit.rebound
        if ordered is not None and ordered.reference_asr:
            reference = [100 * share for share in ordered.reference_asr]
            label = "clean model, by the order"
            axes.plot([0, *ordered.steps], reference, color=_INK, linestyle=":", linewidth=1.2, label=label)
            told.append(f"A clean model, by the order: highest {max(reference):.1f} %.")
        axes.set_xlabel("updates of benign fine-tuning")
        axes.set_ylabel("ASR, %")
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, linewidth=0.5)
        _plain_spines(axes)
        _legend(figure, axes, num_last=0)
        title = "Attack success rate while the cleaned model is trained further"
        return _svg(figure, "rebound", (title, " ".join(told)))


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib's defaults and ours, whatever a matplotlibrc on this machine says."""
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")  # the reader's fonts draw the text, not DejaVu
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _below_and_above(estimates: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    below = [max(0.0, 100 * (one.value - one.low)) for one in estimates]
    return below, [max(0.0, 100 * (one.high - one.value)) for one in estimates]


def _whiskers(axes: Axes, estimates: Sequence[Estimate], *, shift: float, looks: dict[str, Any]) -> None:
    value = [100 * one.value for one in estimates]
    rows = [row + shift for row in range(len(estimates))]
    axes.errorbar(value, rows, xerr=_below_and_above(estimates), markersize=5, capsize=3, zorder=3, **looks)


def _mark_limits(axes: Axes, report: Report) -> None:
    """One line through all rows, or a piece in each where attacks have limits of their own."""
    if not report.policy.asr_at_most_for:
        _mark(axes, report.policy.asr_at_most, "limit", ":")
        return
    limits = [100 * report.policy.limit_of(kind_of_json(one.options))[1] for one in report.before.attacks]
    rows = range(len(limits))
    axes.vlines(
        limits,
        [row - 0.45 for row in rows],
        [row + 0.45 for row in rows],
        color=_LIMIT,
        linestyle=":",
        linewidth=1.2,
        label="limit of each",
        zorder=2,
    )


def _mark(axes: Axes, share: float, label: str, dashes: str) -> None:
    name = f"{label} {100 * share:g} %"
    axes.axvline(100 * share, color=_LIMIT, linestyle=dashes, linewidth=1.2, label=name, zorder=2)


def _legend(figure: Figure, axes: Axes, *, num_last: int) -> None:
    """Above the axes, four in a row; matplotlib's last `num_last` entries come first."""
    handles, names = axes.get_legend_handles_labels()
    split = len(names) - num_last
    figure.legend(
        handles[split:] + handles[:split],
        names[split:] + names[:split],
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4,
        handletextpad=0.5,
        columnspacing=1.4,
    )


def _plain_spines(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)


def _alt_of_rates(report: Report) -> tuple[str, str]:
    sentences = []
    for number, was in enumerate(report.before.attacks):
        now = "" if report.after is None else f", {_words(report.after.attacks[number].asr)} after"
        sentences.append(f"{shown(was.name, _MAX_LABEL)}: {_words(was.asr)} before{now}.")
    return "Attack success rate of every trigger", " ".join(sentences)


def _words(one: Estimate) -> str:
    return (
        f"{100 * one.value:.2f} % (95 % interval {100 * one.low:.2f} to {100 * one.high:.2f} %, n = {one.n})"
    )


# ---------------------------------------------------------------- SVG to stand in HTML


def _svg(figure: Figure, prefix: str, alt: tuple[str, str]) -> str:
    """The figure without a prologue, its ids made unique in the page, with a title and a description."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a stranger's "$" is not mathematics
    written = io.StringIO()
    FigureCanvasSVG(figure)
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", metadata=metadata)
    root = ElementTree.fromstring(written.getvalue())  # noqa: S314 - our own
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    referred = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', written.getvalue()))
    for element in root.iter():
        _adapt(element, prefix, referred)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    _describe(root, prefix, alt)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, prefix: str, referred: Container[str]) -> None:
    attributes = element.attrib
    if attributes.get("id") not in referred:
        attributes.pop("id", None)
    if _HREF in attributes:
        attributes["href"] = f"#{prefix}-{attributes.pop(_HREF).removeprefix('#')}"
    if "id" in attributes:
        attributes["id"] = f"{prefix}-{attributes['id']}"
    for name, value in attributes.items():
        attributes[name] = re.sub(r"url\(#", f"url(#{prefix}-", value)
    style = attributes.get("style", "")
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, f"var({variable})")
    if style:
        attributes["style"] = re.sub(r"font-family:[^;]*;?|font: [\d.]+px [^;]*;?", "", style)


def _describe(root: ElementTree.Element, prefix: str, alt: tuple[str, str]) -> None:
    root.set("role", "img")
    root.set("class", "plot")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    for tag, text in zip(("desc", "title"), reversed(alt), strict=True):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{prefix}-{tag}"})
        element.text = text
        root.insert(0, element)
