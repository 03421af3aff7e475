"""Tables and dots of docs/uar/, from the raw rows of the development models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import Difference, Estimate
from lab.reproduction.developing import Row
from lab.reproduction.development import NUM_PAIRS, UAR
from lab.reproduction.front_plot import Dot, Span

METHODS = ("before", "uar", "cleanclip", "par")
CHANGED = "uar changed"
_HEAD = """\
| model | method | CA % | CA lost, points | ASR % by attack | PA % | CPU s |
|---|---|---|---|---|---|---|"""
_VARIANTS_HEAD = """\
| model | variant | what is changed | CA lost, points | worst ASR % | least PA % | CPU s |
|---|---|---|---|---|---|---|"""


def methods_table(rows: Sequence[Row], variants: Collection[str] = ()) -> str:
    """Every model as it came, after each method and after these variants; a run that failed has its error."""
    told = sorted((row for row in rows if row.method in (*METHODS, *variants)), key=_place(rows))
    seeds = {row.model: row.seed for row in rows}
    num_test = next(row.test.ca.n for row in rows if row.test is not None)
    named = ", ".join(f"{model} {seed}" for model, seed in seeds.items())
    explanation = (
        f"One model and one seed for each name ({named}), one run each, {num_test:,} test images. In "
        "brackets: 95 % intervals; of CA lost, the paired one. CPU seconds are of the fine-tuning, on a busy "
        "machine."
    )
    return "\n".join([explanation, "", _HEAD, *map(_method_line, told)])


def variants_table(rows: Sequence[Row]) -> str:
    """uar with one thing changed, beside uar itself."""
    changed = [row for row in rows if row.method not in METHODS]
    models = {row.model for row in changed}
    told = [row for row in rows if row in changed or (row.method == "uar" and row.model in models)]
    return "\n".join([_VARIANTS_HEAD, *map(_variant_line, sorted(told, key=_place(rows)))])


def layers_table(lines: Sequence[dict[str, Any]]) -> str:
    """Of each model: a row for each trigger and method."""
    tables = []
    for model in dict.fromkeys(line["model"] for line in lines):
        told = [line for line in lines if line["model"] == model]
        layers = list(next(iter(told[0]["families"].values()))["layers"])
        head = [name if name == "embedding" else f"layer {name}" for name in layers]
        table = [f"| {model} | method | {' | '.join(head)} | collapse |", "|---" * (len(layers) + 3) + "|"]
        empty = "| " * len(layers)
        table += [f"| none | {line['method']} {empty}| {line['clean_collapse']:.2f} |" for line in told]
        for family in told[0]["families"]:
            for line in told:
                found = line["families"][family]
                shares = " | ".join(f"{value:.2f}" for value, _, _ in found["layers"].values())
                table.append(f"| {family} | {line['method']} | {shares} | {found['collapse']:.2f} |")
        tables.append("\n".join(table))
    return "\n\n".join(tables)


def full_size_table(lines: Sequence[dict[str, Any]]) -> str:
    """Memory and processor time of uar and CleanCLIP."""
    rows = [
        "| model | method | pairs a CPU s | CPU s an update | inversion, CPU s a step | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        update, step = line["cpu_s_per_update"], line["inversion_step_cpu_s"]
        rows.append(
            f"| {line['model']} | {line['method']} | {line['pairs_per_cpu_s']:.2f} | {update['median']:.1f} "
            f"({update['low']:.1f} to {update['high']:.1f}) | {'' if step is None else f'{step:.0f}'} | "
            f"{line['peak_mb'] / 1000:.1f} |"
        )
    return "\n".join(rows)


def _place(rows: Iterable[Row]) -> Callable[[Row], tuple[int, int]]:
    """Rows of a model stay together, in the order in which they were made."""
    models = list(dict.fromkeys(row.model for row in rows))

    def place(row: Row) -> tuple[int, int]:
        return models.index(row.model), METHODS.index(row.method) if row.method in METHODS else len(METHODS)

    return place


def _method_line(row: Row) -> str:
    if row.test is None:
        return f"| {row.model} | {row.method} | failed: {row.error} | | | | |"
    asr = "; ".join(f"{family} {interval(one)}" for family, one in row.test.asr.items())
    pa = " / ".join(f"{100 * one.value:.0f}" for one in row.test.pa.values())
    ca, lost = interval(row.test.ca), _lost(row)
    return f"| {row.model} | {row.method} | {ca} | {lost} | {asr} | {pa} | {_cpu(row)} |"


def _variant_line(row: Row) -> str:
    if row.test is None:
        return f"| {row.model} | {row.method} | {changed(row)} | failed: {row.error} | | | |"
    worst, least = worst_asr(row), min((one.value for one in row.test.pa.values()), default=None)
    asr = "" if worst is None else f"{worst[0]} {interval(worst[1])}"
    pa = "" if least is None else f"{100 * least:.0f}"
    return f"| {row.model} | {row.method} | {changed(row)} | {_lost(row)} | {asr} | {pa} | {_cpu(row)} |"


def changed(row: Row) -> str:
    """What sets a row of uar apart from uar's recipe here, in words of its options."""
    assert row.recipe is not None
    usual = to_json(UAR)
    options = [f"{name} {value}" for name, value in row.recipe.items() if value != usual.get(name)]
    beside = [f"{name} {_words(value)}" for name, value in (row.changes or {}).items()]
    pairs = [] if row.num_pairs == NUM_PAIRS else [f"{row.num_pairs:,} pairs"]
    return ", ".join([*pairs, *options, *beside]).replace("_", " ")


def _words(value: object) -> str:
    return " and ".join(value) if isinstance(value, list) else str(value)


def worst_asr(row: Row) -> tuple[str, Estimate] | None:
    """The family with the highest ASR, and that."""
    asr = {} if row.test is None else row.test.asr
    return max(asr.items(), key=lambda item: item[1].value, default=None)


def _lost(row: Row) -> str:
    return "" if row.ca_lost is None else interval(row.ca_lost)


def _cpu(row: Row) -> str:
    return f"{row.cpu_s:.0f}" if row.cpu_s else ""


def interval(one: Estimate | Difference) -> str:
    """In per cent, or points: 12.5 (11.0 to 14.1)."""
    return f"{100 * one.value:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


def dots(rows: Sequence[Row]) -> list[Dot]:
    """A dot for each cleaning; those of UAR with one thing changed are small."""
    found = []
    for row in rows:
        if row.test is None or row.ca_lost is None:
            continue
        worst, is_method = worst_asr(row), row.method in METHODS
        found.append(
            Dot(
                model=row.model,
                method=row.method,
                title=row.method if is_method else CHANGED,
                asr=None if worst is None else _span(worst[1]),
                lost=_span(row.ca_lost),
                is_small=not is_method,
            )
        )
    return found


def _span(one: Estimate | Difference) -> Span:
    return Span(value=one.value, low=one.low, high=one.high)
