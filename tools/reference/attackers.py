"""The tables of docs/uar/attackers.md, from its raw rows. The study's code has left (docs/decisions/0094)."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.reference.markdown import Maker, percent, points, table

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
_CARRIER = METHODS | {"uar, pairs without": "`uar`, no tag in its pairs", "never poisoned": "never poisoned"}


def rows(study: str = "attackers", methods: Sequence[str] = tuple(METHODS)) -> list[Row]:
    """Model by model in the order of the run, each with its methods."""
    found = [json.loads(line) for line in (_ROWS / f"{study}.jsonl").read_text(encoding="utf-8").splitlines()]
    return sorted(found, key=lambda one: (one["bed"], one["seed"], methods.index(one["method"])))


def dormant() -> list[Row]:
    """The same of models whose trigger was hidden; before their methods what they were before that."""
    return rows("dormant", tuple(_DORMANT))


def every_dormant_row() -> str:
    """Of each its ASR, and the highest while it is trained further on clean pairs."""
    headings = ["tower, seed", "method", "n", "ASR", "highest when trained further", "CA", "CA lost", "leads"]
    lines = []
    for one in dormant():
        highest = f"{_points(one['highest']['asr'])}, after {one['highest']['updates']}"
        *first, ca, lost, leads, p = _line(one, _DORMANT, one["asr"])
        lines.append([*first, highest, ca, lost, leads, p])
    return table([*headings, "p"], lines)


def carrier() -> list[Row]:
    """The same of tags that ordinary images have, too; last the model whose tags meant nothing."""
    return rows("carrier", tuple(_CARRIER))


def every_carrier_row() -> str:
    headings = ["tower, seed", "method", "n", "ASR", "CA", "CA lost", "leads", "p"]
    return table(headings, (_line(one, _CARRIER, one["asr"]) for one in carrier()))


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
    return " / ".join(percent(worst(one)["value"]) + ("*" if _is_weak(one) else "") for one in found) or "–"


def _is_weak(row: Row) -> bool:
    """Handed in with a trigger that hardly works: such a model does not count."""
    return row["method"] == "before" and bool(worst(row)["value"] < _IMPLANTED)


def every_row() -> str:
    headings = ["attacker, tower, seed", "method", "n", "ASR", "CA", "CA lost", "leads", "scan's p"]
    lines = []
    for one in rows():
        where, method, *figures = _line(one, METHODS, worst(one))
        weak = " (too weak)" if _is_weak(one) else ""
        lines.append([f"{one['family']}, {where}", method + weak, *figures])
    return table(headings, lines)


def _line(row: Row, methods: Mapping[str, str], asr: Mapping[str, Any]) -> list[str]:
    """Tower and seed, method, n, ASR, CA and its loss, what the strongest pattern leads, the scan's p."""
    lost = _points(row["lost"]) if row["lost"] else "–"
    return [
        f"{_tower(row['bed'])}, {row['seed']}",
        methods[row["method"]],
        f"{asr['n']:,}",
        _points(asr),
        _points(row["ca"]),
        lost,
        _points(row["control"]),
        f"{row['p']:.3f}" if "p" in row else "–",
    ]


def _points(figure: Mapping[str, Any]) -> str:
    return points(figure["value"], figure["low"], figure["high"])


def worst(row: Row) -> Mapping[str, Any]:
    """Of several targets the one with the highest ASR; before a cleaning the one with the lowest."""
    worst = min if row["method"] == "before" else max
    found: Mapping[str, Any] = worst(row["asr"], key=lambda one: one["value"])
    return found


def _tower(bed: str) -> str:
    return {"resnet": "ResNet", "vit": "ViT"}[bed.split("-")[1]]


MAKERS: Mapping[str, Maker] = {
    "attackers": lambda kept: in_short(),
    "attackers: every row": lambda kept: every_row(),
    "attackers: dormant": lambda kept: every_dormant_row(),
    "attackers: carrier": lambda kept: every_carrier_row(),
}
