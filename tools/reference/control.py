"""The tables of docs/scanning/control.md, from the zoo's published rows: what limits on control cost."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cleanclip.vocabulary.control import CONTROL_LIMIT, JUDGED
from cleanclip.vocabulary.intervals import wilson
from cleanclip.vocabulary.scan_options import PatternFamily
from lab.zoo.tables import clopper_pearson
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "scanning"
LIMITS = (0.3, 0.5, 0.7, 0.8, 0.85, 0.9)
_OVER = tuple(f"over {100 * limit:g} %" for limit in LIMITS)
METHODS = {"": "nothing", "uar": "UAR", "cleanclip": "CleanCLIP", "par": "PAR", "supervised": "supervised"}
"""The model as it is, then what each method made of it."""
WORKS = 0.9
"""From this ASR on a backdoor counts as one that works."""


class Led(NamedTuple):
    """One model: what its strongest judged pattern leads, and by which share of poisons it works."""

    name: str
    split: str
    family: str
    ca: float
    asr: float
    """0 of a model that was never poisoned."""
    sent: int
    n: int
    method: str
    """By which it was cleaned; empty: by none."""

    @property
    def kind(self) -> str:
        return "never poisoned" if self.family == "clean" else "poisoned"

    @property
    def tower(self) -> str:
        return "ViT" if "-vit-" in self.name else "ResNet"

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
    return Led(
        name=model["name"],
        split=model["split"],
        family=model["family"],
        ca=model["ca"]["value"],
        asr=max((one["value"] for one in model["asr"]), default=0.0),
        sent=sent,
        n=judged[0]["n"],
        method=model.get("cleaned", {}).get("recipe", {}).get("method", ""),
    )


def _limits(found: Sequence[Led]) -> str:
    groups: dict[tuple[str, str], list[Led]] = defaultdict(list)
    for one in found:
        kind = (
            "never poisoned" if one.asr == 0 else "ASR 90 % or more" if one.asr >= WORKS else "ASR under 90 %"
        )
        groups[kind, one.split].append(one)
    rows = [(kind, split, *_over(members)) for (kind, split), members in sorted(groups.items())]
    return table(("models", "split", *_OVER), rows)


def _over(members: Sequence[Led]) -> list[str]:
    """Of each limit how many are over it."""
    return [_counted(sum(one.low > limit for one in members), len(members)) for limit in LIMITS]


def _counted(num: int, n: int) -> str:
    exact = clopper_pearson(num, n)
    return f"{num} of {n} [{100 * exact.low:.0f}, {100 * exact.high:.0f}]"


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


def cleaned(found: Sequence[Led]) -> str:
    groups: dict[tuple[str, str, str], list[Led]] = defaultdict(list)
    for one in found:
        groups[one.kind, one.tower, one.method].append(one)
    ordered = sorted(groups, key=lambda what: (*what[:2], list(METHODS).index(what[2])))
    rows = [
        (kind, tower, METHODS[method], _span([one.share for one in members]), *_over(members))
        for kind, tower, method in ordered
        for members in (groups[kind, tower, method],)
    ]
    return table(("models", "tower", "after", "strongest pattern leads", *_OVER), rows)


def each_cleaned(found: Sequence[Led]) -> str:
    of_model: dict[str, dict[str, Led]] = defaultdict(dict)
    for one in found:
        of_model[one.name.split("+")[0]][one.method] = one
    rows = []
    for name, looks in sorted(of_model.items(), key=lambda row: (row[1][""].kind, row[1][""].family, row[0])):
        cells = (_figures(looks[method]) if method in looks else "–" for method in METHODS)
        rows.append((f"{name} ({looks[''].family})", *cells))
    return table(("model", *METHODS.values()), rows)


def _figures(one: Led) -> str:
    shares = (one.share, *((one.asr,) if one.kind == "poisoned" else ()), one.ca)
    shown = " / ".join(f"{100 * share:.0f}" for share in shares)
    return f"**{shown}**" if one.low > CONTROL_LIMIT else shown


def _span(shares: Sequence[float]) -> str:
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    return f"{high} %" if low == high else f"{low} to {high} %"


MAKERS: Mapping[str, Maker] = {
    "control: limits": lambda _: _limits(models()),
    "control: families": lambda _: _families(models()),
    "control: held out": lambda _: _limits(models("control-held-out-")),
    "control: cleaned": lambda _: cleaned(models("cleaned/")),
    "control: each cleaned": lambda _: each_cleaned(models("cleaned/")),
}
