"""Results → the generated part of docs/performance.md. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "docs" / "performance.json"
BEGIN = "<!-- begin: written by python -m lab.benchmarks.speed -->"
END = "<!-- end: written by python -m lab.benchmarks.speed -->"
AIMS = {"RN50": 3.5, "ViT-B/32": 2.5}
AUDIT_AIM = 5.0


def render(results: Mapping[str, Any]) -> str:
    """Markdown of all parts that were measured, each with its own machine line."""
    parts = {"training": _training, "audit": _audit}
    lines: list[str] = []
    for part, make in parts.items():
        if part in results:
            measured = results[part]
            lines += [*make(measured["rows"]), "", _machine(measured["machine"], measured["command"]), ""]
    return "\n".join(lines).strip()


def write(results: Mapping[str, Any]) -> None:
    """Keep the raw results and put their tables between the markers of the page."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render(results)}\n\n{END}{tail}", encoding="utf-8")


def _machine(machine: Mapping[str, Any], command: str) -> str:
    return (
        f"*{machine['date']}; {machine['processor']}, {machine['cores']} cores, "
        f"device {machine['device']}, load {machine['load_average']} at the start; {machine['system']}; "
        f"{machine['versions']}; `{command}`*"
    )


def _spread(value: Mapping[str, float], digits: int = 1) -> str:
    return f"{value['median']:.{digits}f} ({value['low']:.{digits}f}–{value['high']:.{digits}f})"


def _training(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "## Cleaning, end to end with decoding",
        "",
        "One epoch over the same pairs; median of the repetitions, smallest and largest in brackets.",
        "`both frozen`: the ratio to a baseline that leaves BatchNorm's statistics as they are, as ours.",
        "",
        "| model | pairs | batch | baseline, s | ours, s | baseline, pairs/s | ours, pairs/s | ratio | aim | "
        "both frozen |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        slow, fast = (row["pairs"] / row[side]["median"] for side in ("baseline_s", "ours_s"))
        aim = f"{AIMS[row['model']]}" if row["model"] in AIMS else "–"
        lines.append(
            f"| {row['model']} | {row['pairs']} | {row['batch']} | {_spread(row['baseline_s'])} | "
            f"{_spread(row['ours_s'])} | {slow:.2f} | {fast:.2f} | **{_spread(row['ratio'], 2)}** | {aim} | "
            f"{_spread(row['frozen_ratio'], 2) if 'frozen_ratio' in row else '–'} |"
        )
    return lines


def _audit(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "## An audit of eight triggers",
        "",
        "The baseline is nine runs: one without trigger and one a trigger, each of which embeds the class",
        "prompts and decodes every image; `prompts once` is the ratio had it embedded them only once.",
        f"Ours is float32 unless the audit's `precision` says bf16. Aim: {AUDIT_AIM:g}.",
        "",
        "| model | images | prompts | baseline, s | its prompts, s | ours, s | ratio | prompts once | "
        "ours in bf16, s | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        in_bf16 = "– | –"  # measured before there was a choice
        if "bf16_s" in row:
            in_bf16 = f"{_spread(row['bf16_s'])} | **{_spread(row['bf16_ratio'], 2)}**"
        lines.append(
            f"| {row['model']} | {row['images']} | {row['prompts']} | {_spread(row['baseline_s'])} | "
            f"{_spread(row['baseline_prompts_s'])} | {_spread(row['ours_s'])} | "
            f"**{_spread(row['ratio'], 2)}** | {_spread(row['prompts_once'], 2)} | {in_bf16} |"
        )
    return lines
