"""A dry run as text for people."""

from collections.abc import Mapping
from typing import Any

from cleanclip.command.formats import size, span, table
from cleanclip.dry_run_models import DryRun, PhaseAhead, TimeSpan
from cleanclip.errors import with_remedy
from cleanclip.vocabulary.device_plan import DevicePlan
from cleanclip.vocabulary.recipe import parse, parse_recipe
from cleanclip.vocabulary.recommended import RecipeSource

_UNITS = {
    "images": "images",
    "samples": "samples trained on",
    "passes": "images forward and backward",
    "texts": "texts",
}


def dry_run(ahead: DryRun) -> str:
    """What would be refused, what the job would warn of, its phases and their times."""
    parts = ["Dry run: nothing was ordered."]
    if ahead.obstacles:
        lines = [
            f"  {obstacle.code}{f' at {obstacle.pointer}' if obstacle.pointer else ''}: "
            f"{with_remedy(obstacle.detail, obstacle.remedy)}"
            for obstacle in ahead.obstacles
        ]
        parts.append("\n".join(["The order would be refused, or its job would fail:", *lines]))
    if ahead.warnings:
        parts.append("\n".join(["The job would warn about:", *(f"  {one}" for one in ahead.warnings)]))
    if ahead.recipe is not None and ahead.recipe_source is not None:
        parts.append(recipe_sentences(ahead.recipe, ahead.recipe_source))
    rows = [(one.name, _amount(one), _time(one.time), one.does) for one in ahead.phases]
    parts.append(table(("PHASE", "WORK", "TIME", "DOES"), rows))
    unknown = [one.name for one in ahead.phases if one.time is None]
    without = f", without {', '.join(unknown)}" if ahead.time and unknown else ""
    parts.append(f"in all: {_time(ahead.time)}{without}")
    if any(one.time and one.time.num_jobs == 0 for one in ahead.phases):
        parts.append(
            "estimate: no earlier job tells. It is what two cores of a processor take, with and without AMX "
            "(docs/performance.md); a GPU takes less. The first job on such a model takes its place."
        )
    if any(one.time and one.time.num_jobs for one in ahead.phases):
        parts.append(
            "Times come from earlier jobs on models of this architecture, on whatever machine ran them."
        )
    if ahead.plan is not None:
        parts.append(
            "\n".join(["On a GPU:", *(f"  {one}" for one in parse(DevicePlan, ahead.plan).sentences())])
        )
    return "\n\n".join(parts)


def recipe_sentences(recipe: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """Which options an order gave, which have recommended values, and by what source."""
    return parse(RecipeSource, source).sentences(parse_recipe(recipe))


def _amount(phase: PhaseAhead) -> str:
    if phase.amount is None:
        return "not known" if phase.unit != "jobs" else "-"
    if phase.unit == "bytes":
        return size(phase.amount)
    return f"{phase.amount:,} {_UNITS[phase.unit]}" if phase.unit in _UNITS else "-"


def _time(time: TimeSpan | None) -> str:
    if time is None:
        return "not known"
    low, high = span(time.low_s), span(time.high_s)
    jobs = {0: "estimate", 1: "1 job"}.get(time.num_jobs, f"{time.num_jobs} jobs")
    return f"{f'about {low}' if low == high else f'{low} to {high}'} ({jobs})"
