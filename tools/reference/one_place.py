"""The tables of docs/scanning/how.md on patches at one place, from raw rows; the study left the lab
(docs/decisions/0094).

A row of one-place.jsonl is one search of one model: of each start its place, and how many of `n` held-out
images it leads to which class. The held-out models have rows as the zoo's (one-place/), and are judged by the
zoo's null. `RULES` were fixed, the first as the one that counts, before a held-out model was made.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from cleanclip.vocabulary import conformal
from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.zoo.judging import DEFAULT_DETECTORS
from lab.zoo.plan import BedName, class_names
from lab.zoo.tables import clopper_pearson
from tools.reference.markdown import Maker, table

ZOO = Path(__file__).resolve().parents[2] / "docs" / "scanning"
BED: BedName = "fashion-resnet"
STATISTICS = {"agreement": "all starts", "place": "the starts at one place", "best": "one start"}
CLASSES = class_names(BED)
_HEADINGS = ("search", "share of", "CPU-s", "poisoned, %", "target named", "never poisoned, %", "above these")
_STATISTICS = TypeAdapter(ScanStatistics)
Row = Mapping[str, Any]


def statistic(row: Row, name: str) -> tuple[float, str]:
    """The largest share of images that all starts, those at one place or one start lead to a class, and
    which."""
    groups: dict[object, list[Counter[str]]] = {}
    for number, start in enumerate(row["starts"]):
        group = {"agreement": None, "place": tuple(start["at"]), "best": number}[name]
        groups.setdefault(group, []).append(Counter(start["sent"]))
    return max(
        (sent / (row["n"] * len(starts)), towards)
        for starts in groups.values()
        for towards, sent in sum(starts, Counter[str]()).items()
    )


def by_search(part: str) -> str:
    """A row for each search and statistic, of the models of one part. `above` is over every clean one."""
    rows = [row for row in _lines(ZOO / "one-place.jsonl") if row["part"] == part]
    lines: list[Sequence[str]] = []
    for search in dict.fromkeys(row["search"] for row in rows):
        of_search = [row for row in rows if row["search"] == search]
        poisoned, clean = [[row for row in of_search if bool(row["asr"]) == kind] for kind in (True, False)]
        seconds = f"{median(row['cpu_s'] for row in of_search):.0f}"
        places = {tuple(start["at"]) for start in poisoned[0]["starts"]}
        for name, over in STATISTICS.items():
            if name == "place" and len(places) == len(poisoned[0]["starts"]):
                continue
            scores, clean_scores = _scores(poisoned, name), _scores(clean, name)
            named = sum(CLASSES[int(statistic(row, name)[1])] in row["targets"] for row in poisoned)
            shown = _listed(scores), f"{named} of {len(poisoned)}", _listed(clean_scores)
            lines.append((search, over, seconds, *shown, _above(scores, max(clean_scores))))
    return table(_HEADINGS, lines)


def _scores(rows: Sequence[Row], name: str) -> list[float]:
    return sorted(statistic(row, name)[0] for row in rows)


def _listed(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares)


RULES = {
    "best starts": "the best start of each family, in log-odds",
    "best start at one place": "the same of patches at one place; agreement of the others",
    "agreement": "agreement, as a scan judges",
}
"""What stands for a family of *collapse* in the pool. Found is p ≤ 5 % by the whole scan."""
LEVEL = 0.05
WORKS = 0.9
"""From this ASR on a backdoor counts as one that works."""


def log_odds(num: int, n: int) -> float:
    """ln of the odds of `num` of `n`, half an image added to both sides."""
    return log((num + 0.5) / (n - num + 0.5))


def judged_row(measured: ScanStatistics, rule: str) -> Mapping[Detector, Mapping[str, float]]:
    """What `conformal.judge` takes of one look by that rule."""
    found = dict(conformal.rows(measured))
    if measured.collapse and rule != "agreement":
        found["collapse"] = {
            one.family.name: log_odds(max(start.num_sent or 0 for start in one.restarts), one.n)
            if rule == "best starts" or one.family.placement == "fixed"
            else one.agreement or 0.0
            for one in measured.collapse
        }
    return found


class Looks:
    """The looks at the models of a bed that a folder of rows holds, by name and detector."""

    def __init__(self, folder: Path, bed: str = BED) -> None:
        made = {one["name"]: one for one in _lines(folder / "models.jsonl") if one["bed"] == bed}
        self.models: Mapping[str, Mapping[str, Any]] = made
        self.measured: dict[str, dict[str, ScanStatistics]] = {}
        for look in _lines(folder / "scans.jsonl"):
            is_of_model = made.get(look["name"], {}).get("weights_sha256") == look["weights_sha256"]
            if is_of_model and look["detector"] in DEFAULT_DETECTORS and look.get("measured"):
                measured = _STATISTICS.validate_json(json.dumps(look["measured"]))
                self.measured.setdefault(look["name"], {})[look["detector"]] = measured

    def seen_by(self, detectors: Sequence[str], split: str = "") -> list[str]:
        """The models that all of them have looked at; `split`: of this one."""
        return [
            name
            for name, looks in self.measured.items()
            if set(detectors) <= looks.keys() and self.models[name]["split"].startswith(split)
        ]

    def row(self, name: str, rule: str, detectors: Sequence[str]) -> dict[Detector, Mapping[str, float]]:
        rows = (judged_row(self.measured[name][detector], rule) for detector in detectors)
        return {detector: row for one in rows for detector, row in one.items()}


def p_values(
    suspects: Looks, null: Looks, rule: str, detectors: Sequence[str] = DEFAULT_DETECTORS
) -> dict[str, float]:
    """Of each suspect by the calibration models of the null, itself left out."""
    pool = {name: null.row(name, rule, detectors) for name in null.seen_by(detectors, "calibration")}
    return {
        name: conformal.judge(
            [row for other, row in pool.items() if other != name], suspects.row(name, rule, detectors)
        ).p_value
        for name in suspects.seen_by(detectors)
    }


def published(beds: Sequence[str] = ("fashion-resnet", "fashion-vit")) -> str:
    """A row for each split and set of detectors: how many models each rule finds."""
    counts: dict[tuple[str, str, str], list[bool]] = {}
    for looks in map(_published, beds):
        for detectors in (("collapse",), DEFAULT_DETECTORS):
            for rule in RULES:
                for name, p in p_values(looks, looks, rule, detectors).items():
                    split, asr = looks.models[name]["split"], looks.models[name]["asr"]
                    if split != "calibration" and (not asr or _asr(looks.models[name]) >= WORKS):
                        kind = f"{split}, {'poisoned' if asr else 'never poisoned'}"
                        counts.setdefault((kind, " and ".join(detectors), rule), []).append(p <= LEVEL)
    lines = [
        (
            kind,
            by,
            *(_counted(sum(found), len(found)) for rule in RULES for found in [counts[kind, by, rule]]),
        )
        for kind, by in dict.fromkeys((kind, by) for kind, by, _ in sorted(counts))
    ]
    return table(("models", "judged by", *RULES), lines)


@cache
def _published(bed: str) -> Looks:
    return Looks(ZOO, bed)


@cache
def _opened() -> Looks:
    return Looks(ZOO / "one-place")


def _asr(model: Mapping[str, Any]) -> float:
    return max((float(one["value"]) for one in model["asr"]), default=0.0)


def held_out(suspects: Looks, null: Looks) -> str:
    """A row for each rule: the p-values of poisoned models and of clean ones, and how many are under 5 %."""
    lines = []
    for rule, meaning in RULES.items():
        p = p_values(suspects, null, rule)
        poisoned, clean = (
            [p[name] for name in p if bool(suspects.models[name]["asr"]) == kind] for kind in (True, False)
        )
        lines.append((meaning, *_found(poisoned), *_found(clean)))
    return table(
        ("what is judged of a family of *collapse*", "poisoned, p", "found", "never poisoned, p", "found"),
        lines,
    )


def each(suspects: Looks, null: Looks) -> str:
    """A row for each poisoned model: what it is, where its starts at one place end, and its p-values."""
    p = [p_values(suspects, null, rule) for rule in RULES]
    lines: list[tuple[str, ...]] = []
    for name in suspects.seen_by(DEFAULT_DETECTORS):
        model = suspects.models[name]
        collapse = suspects.measured[name]["collapse"].collapse
        (fixed,) = (one for one in collapse if one.family.placement == "fixed")
        best = max(fixed.restarts, key=lambda start: start.num_sent or 0)
        starts = sum(CLASSES[start.towards or 0] in model["targets"] for start in fixed.restarts)
        shown = f"{100 * (fixed.agreement or 0):.0f}", f"{100 * (best.num_sent or 0) / fixed.n:.0f}"
        is_target = "yes" if CLASSES[best.towards or 0] in model["targets"] else "no"
        of_target = (str(starts), is_target) if model["asr"] else ("–", "–")
        lines.append((_shape(model), *shown, *of_target, *(f"{one[name]:.3f}" for one in p)))
    head = ("model", "agreement, %", "best start, %", "starts at the target", "best start at the target")
    return table((*head, *(f"p, {rule}" for rule in RULES)), sorted(lines))


def _shape(model: Mapping[str, Any]) -> str:
    """What the model is, in a few words."""
    number, attack = int(model["name"][-3:]), model["options"]["attack"]
    if attack is None:
        return f"never poisoned, {number}"
    place = attack.get("at") or attack["placement"].replace("_", " ")
    side, asr = round(32 * attack["size"]), 100 * _asr(model)
    return f"poisoned, {number}: {side} pixels, {place}, ASR {asr:.0f} %"


def _found(p: Sequence[float]) -> tuple[str, str]:
    return ", ".join(f"{one:.3f}".lstrip("0") for one in p), _counted(sum(one <= LEVEL for one in p), len(p))


def _above(shares: Sequence[float], limit: float) -> str:
    return _counted(sum(share > limit for share in shares), len(shares))


def _counted(num: int, n: int) -> str:
    exact = clopper_pearson(num, n)
    return f"{num} of {n} [{100 * exact.low:.0f}, {100 * exact.high:.0f}]"


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


MAKERS: Mapping[str, Maker] = {
    "one place: searches": lambda _: by_search("development"),
    "one place: other searches": lambda _: by_search("held out"),
    "one place: published": lambda _: published(),
    "one place: held out": lambda _: held_out(_opened(), _published(BED)),
    "one place: each held out": lambda _: each(_opened(), _published(BED)),
}
