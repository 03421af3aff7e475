"""A ladder as text for a terminal: a line for each model that was measured, and the choice. Free of torch."""

from __future__ import annotations

from typing import Any

from cleanclip.spec.figures import at, short
from cleanclip.spec.ladder_lines import ENDS, WHY
from cleanclip.spec.strangers import name


def in_brief(report: Any) -> list[str]:
    """Empty where no ladder was ordered. `report` is a Report, or its JSON, or a job's result with the job's
    `audit`."""
    auto = at(report, "auto")
    if auto is None:
        return []
    lines = [f"Recipes tried on {at(auto, 'num_validation')} validation images, which are not test images:"]
    lines.append(f"· input model: {_figures(report, at(auto, 'before'))}")
    without = []
    for number, rung in enumerate(at(auto, "rungs")):
        looks, end = at(rung, "looks"), at(rung, "end")
        for place, look in enumerate(looks):
            is_chosen = (number, place) == (at(auto, "choice.rung"), at(auto, "choice.look"))
            title = f"{at(rung, 'name')}, after epoch {at(look, 'epoch')} of {at(rung, 'recipe.epochs')}"
            if place == len(looks) - 1:
                title += f" ({ENDS.get(end, end)})"
            told = _figures(report, at(look, "figures"), at(look, "ca_lost"))
            lines.append(f"{'→ chosen: ' if is_chosen else '· '}{title}: {told}")
        if not looks:
            without.append(f"{at(rung, 'name')} ({ENDS.get(end, end)})")
    without += [
        f"{at(one, 'name')} ({WHY.get(at(one, 'why'), at(one, 'why'))})" for one in at(auto, "left_out")
    ]
    if without:
        lines.append(f"Not measured: {', '.join(without)}.")
    return [*lines, f"Choice: {at(auto, 'choice.reason')}"]


def _figures(report: Any, figures: Any, lost: Any = None) -> str:
    parts = [f"CA {short(at(figures, 'ca'))}"]
    if lost is not None:
        value, low, high = (100 * at(lost, part) for part in ("value", "low", "high"))
        parts.append(f"CA lost {value:.1f} points [{low:.1f}, {high:.1f}] n={at(lost, 'n')}")
    parts.append(_highest_asr(report, figures))
    sent = [*at(figures, "surrogates"), *at(figures, "patterns")]
    if sent:
        most = max(sent, key=lambda one: at(one, "moved.value"))
        where = f"{name(str(at(most, 'name')))} to “{name(str(at(most, 'class_name')))}”"
        parts.append(f"most sent to one class {short(at(most, 'moved'))} ({where})")
    return "; ".join(parts)


def _highest_asr(report: Any, figures: Any) -> str:
    """Of the attacks that count in the choice; where none does, of all, and why it does not count."""
    numbers = range(len(at(figures, "attacks")))
    judged = [n for n in numbers if at(report, ("verdict", "attacks", n, "judged")) is not False]
    gate, before = at(report, "audit.gate") or 0.0, ("auto", "before", "attacks")
    counted = [n for n in judged if at(report, (*before, n, "asr", "value")) >= gate]
    worst = max(counted or numbers, key=lambda n: at(figures, ("attacks", n, "asr", "value")))
    called = name(str(at(report, ("before", "attacks", worst, "name"))))
    if not counted:
        called += ", not judged" if worst not in judged else ", which did not work on the input model"
    return f"highest ASR {short(at(figures, ('attacks', worst, 'asr')))} ({called})"
