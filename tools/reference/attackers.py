"""The tables of docs/uar/attackers.md, from its raw rows. The study's code has left (docs/decisions/0094)."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "uar"
METHODS = {
    "before": "before",
    "uar": "`uar`",
    "cleanclip": "CleanCLIP",
    "par": "PAR",
    "cleanclip then uar": "CleanCLIP, then `uar`",
}
_IMPLANTED = 0.5
Row = Mapping[str, Any]


_DORMANT = {"trained": "before it was hidden"} | METHODS | {"before": "as handed in"}


def rows(study: str = "attackers", methods: Sequence[str] = tuple(METHODS)) -> list[Row]:
    """Model by model in the order of the run, each with its methods."""
    found = [json.loads(line) for line in (_ROWS / f"{study}.jsonl").read_text(encoding="utf-8").splitlines()]
    return sorted(found, key=lambda one: (one["bed"], one["seed"], methods.index(one["method"])))


def dormant() -> list[Row]:
    """The same of models whose trigger was hidden; before their methods what they were before that."""
    return rows("dormant", tuple(_DORMANT))


def every_dormant_row() -> str:
    """Of each its ASR, and the highest while it is trained further on clean pairs."""
    headings = [
        "tower, seed",
        "method",
        "n",
        "ASR",
        "highest when trained further",
        "CA",
        "CA lost",
        "leads",
        "p",
    ]
    lines = [
        [
            f"{_tower(one['bed'])}, {one['seed']}",
            _DORMANT[one["method"]],
            f"{one['asr']['n']:,}",
            _with_bounds(one["asr"]),
            f"{_with_bounds(one['highest']['asr'])}, after {one['highest']['updates']}",
            _with_bounds(one["ca"]),
            "–" if one["method"] == "before" else _with_bounds(one["lost"]),
            _with_bounds(one["control"]),
            f"{one['p']:.3f}" if "p" in one else "–",
        ]
        for one in dormant()
    ]
    return table(headings, lines)


def in_short() -> str:
    """Of each family and tower: the scan's p, then what each method leaves, model by model."""
    of_family: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows():
        of_family[row["family"], row["bed"]][row["method"]].append(row)
    lines = []
    for (family, bed), methods in sorted(of_family.items()):
        p = " / ".join(f"{one['p']:.2f}" for one in methods["before"])
        lines.append([family, _tower(bed), p, *(_each(methods[one]) for one in METHODS)])
    return table(["attacker", "tower", "scan's p", *METHODS.values()], lines)


def _each(found: Sequence[Row]) -> str:
    return " / ".join(_percent(worst(one)["value"]) for one in found) or "–"


def every_row() -> str:
    headings = ["attacker, tower, seed", "method", "n", "ASR", "CA", "CA lost", "leads", "scan's p"]
    return table(headings, [_figures(one) for one in rows()])


def _figures(row: Row) -> list[str]:
    asr = worst(row)
    weak = row["method"] == "before" and asr["value"] < _IMPLANTED
    return [
        f"{row['family']}, {_tower(row['bed'])}, {row['seed']}",
        METHODS[row["method"]] + (" (too weak)" if weak else ""),
        f"{asr['n']:,}",
        _with_bounds(asr),
        _with_bounds(row["ca"]),
        "–" if row["lost"] is None else _with_bounds(row["lost"]),
        _with_bounds(row["control"]),
        f"{row['p']:.3f}" if "p" in row else "–",
    ]


def worst(row: Row) -> Mapping[str, Any]:
    """Of several targets the one with the highest ASR; before a cleaning the one with the lowest."""
    worst = min if row["method"] == "before" else max
    found: Mapping[str, Any] = worst(row["asr"], key=lambda one: one["value"])
    return found


def _tower(bed: str) -> str:
    return {"resnet": "ResNet", "vit": "ViT"}[bed.split("-")[1]]


def _with_bounds(share: Mapping[str, Any]) -> str:
    return f"{_percent(share['value'])} ({_percent(share['low'])} to {_percent(share['high'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".replace("-0.0", "0.0")


MAKERS: Mapping[str, Maker] = {
    "attackers": lambda kept: in_short(),
    "attackers: every row": lambda kept: every_row(),
    "attackers: dormant": lambda kept: every_dormant_row(),
}
