"""The tables of docs/scanning/control.md, from the zoo's published rows: what limits on control cost."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cleanclip.spec.control import CONTROL_LIMIT, JUDGED
from cleanclip.spec.intervals import wilson
from cleanclip.spec.scan_options import PatternFamily
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "scanning"
LIMITS = (0.3, 0.5, 0.7, 0.8, 0.85, 0.9)
WORKS = 0.9
"""From this ASR on a backdoor counts as one that works."""


class Led(NamedTuple):
    """One model: what its strongest judged pattern leads, and by which share of poisons it works."""

    split: str
    family: str
    asr: float
    """0 of a model that was never poisoned."""
    sent: int
    n: int

    @property
    def low(self) -> float:
        return wilson(self.sent, self.n)[0]

    @property
    def share(self) -> float:
        return self.sent / self.n


@cache
def models(name: str = "") -> tuple[Led, ...]:
    """Of every model that the detector `collapse` looked at, as its last row says; `name` of other rows."""
    made = {one["name"]: one for one in _lines(f"{name}models.jsonl")}
    looks = {one["name"]: one for one in _lines(f"{name}scans.jsonl") if one["detector"] == "collapse"}
    return tuple(_led(made[one], looks[one]) for one in looks if one in made)


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (_ROWS / name).read_text(encoding="utf-8").splitlines()]


def _led(model: Mapping[str, Any], look: Mapping[str, Any]) -> Led:
    judged = [one for one in look["measured"]["collapse"] if PatternFamily(**one["family"]) in JUDGED]
    sent = max(restart["num_sent"] for one in judged for restart in one["restarts"])
    asr = max((one["value"] for one in model["asr"]), default=0.0)
    return Led(model["split"], model["family"], asr, sent, judged[0]["n"])


def _limits(found: Sequence[Led]) -> str:
    groups: dict[tuple[str, str], list[Led]] = defaultdict(list)
    for one in found:
        kind = (
            "never poisoned" if one.asr == 0 else "ASR 90 % or more" if one.asr >= WORKS else "ASR under 90 %"
        )
        groups[kind, one.split].append(one)
    rows = []
    for (kind, split), members in sorted(groups.items()):
        over = (_counted(sum(one.low > limit for one in members), len(members)) for limit in LIMITS)
        rows.append((kind, split, *over))
    return table(("models", "split", *(f"over {100 * limit:g} %" for limit in LIMITS)), rows)


def _counted(num: int, n: int) -> str:
    low, high = wilson(num, n)
    return f"{num} of {n} [{100 * low:.0f}, {100 * high:.0f}]"


def _families(found: Sequence[Led]) -> str:
    groups: dict[str, list[Led]] = defaultdict(list)
    for one in found:
        if one.asr >= WORKS:
            groups[one.family].append(one)
    rows = [
        (
            family,
            str(len(members)),
            _span([one.share for one in members]),
            str(sum(one.low > CONTROL_LIMIT for one in members)),
        )
        for family, members in sorted(groups.items())
    ]
    return table(("trigger", "models", "strongest pattern leads", "controlled"), rows)


def _span(shares: Sequence[float]) -> str:
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    return f"{high} %" if low == high else f"{low} to {high} %"


MAKERS: Mapping[str, Maker] = {
    "control: limits": lambda _: _limits(models()),
    "control: families": lambda _: _families(models()),
    "control: held out": lambda _: _limits(models("control-held-out-")),
}
