"""What `make gpu` measured → its JSON and the tables of docs/gpu.md. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.reference.markdown import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gpu.md"
BEGIN, END = "<!-- begin: gpu -->", "<!-- end: gpu -->"
NO_GPU = "**No GPU was used**: a small model on a processor shows that each part runs, and nothing else."
RANDOM = (
    "The weights are random, and the labels are the model's answers: no CA, ASR or outcome says anything."
)
_MEMORY = ("plan", "allocated", "reserved")


def write(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """The JSON beside the page, and its tables between the markers."""
    page.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    head, _, rest = (page if page.exists() else PAGE).read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n\n{tables(results)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def made(page: Path = PAGE) -> str:
    """The tables, from the JSON beside the page."""
    return tables(json.loads(page.with_suffix(".json").read_text(encoding="utf-8")))


def tables(results: Mapping[str, Any]) -> str:
    """Markdown of the parts that are there."""
    machine, parts = results["machine"], results["parts"]
    data = "images of the operator" if results["has_data"] else "images that were made"
    lines = [
        f"*{machine['date']}; commit `{machine['commit']}`; {machine['device']}, "
        f"{machine['device_bytes'] / 1e9:.0f} GB, driver {machine['driver'] or '–'}; {machine['processor']}, "
        f"{machine['cores']} cores; {machine['versions']}; {results['model'] or 'random weights'}; {data}*",
        *([] if machine["driver"] else ["", NO_GPU]),
        *([] if results["model"] else ["", RANDOM]),
        "",
    ]
    in_short = table(
        ("part", "figures", "minutes", "by the plan", "GPU busy"), map(_part, parts, parts.values())
    )
    by_phase = table(
        ("part", "phase", "seconds", *(f"{what}, GB" for what in _MEMORY)),
        (
            (name, f"`{phase}`", f"{row['seconds']:,.1f}", *(_gb(row.get(what)) for what in _MEMORY))
            for name, part in parts.items()
            for phase, row in part.get("phases", {}).items()
        ),
    )
    return "\n".join([*lines, in_short, by_phase])


def _part(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    if "failure" in row:
        return name, f"**failed**: {' '.join(row['failure'].split()).replace('|', '/')}", "–", "–", "–"
    figures = (f"{what} {_number(value)}" for what, value in row["figures"].items())
    plan, busy = row.get("plan_minutes"), row.get("busy")
    return (
        name,
        "; ".join(figures),
        _number(row["minutes"]) if "minutes" in row else "–",
        " to ".join(map(_number, plan)) if plan else "–",
        "–" if busy is None else f"{100 * busy:.0f} %",
    )


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if isinstance(value, float) and value < 1_000 else f"{value:,.0f}"


def _gb(num_bytes: float | None) -> str:
    return f"{num_bytes / 1e9:.2f}" if num_bytes else "–"
