"""The tables of docs/scanning/how.md on patches at one place, from raw rows; the study left the lab
(docs/decisions/0094).

A row of one-place.jsonl is one search of one development model: of each start its place, and how many of
`n` held-out images it leads to which class. The held-out models have rows as the zoo's (one-place/), and are
judged by the zoo's null. `RULES` were fixed, the first as the one that counts, before a held-out model was
made.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from cleanclip.vocabulary import conformal
from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.scan_statistics import ScanStatistics
from lab.zoo.judging import DEFAULT_DETECTORS
from lab.zoo.plan import BedName, class_names
from lab.zoo.rows import read_models, read_scans
from lab.zoo.tables import clopper_pearson
from tools.reference.markdown import Maker, table

ZOO = Path(__file__).resolve().parents[2] / "docs" / "scanning"
BED: BedName = "fashion-resnet"
STATISTICS = {"agreement": "all starts", "place": "the starts at one place", "best": "one start"}
CLASSES = class_names(BED)
_HEADINGS = ("search", "share of", "CPU-s", "poisoned, %", "target named", "never poisoned, %", "above these")
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


def by_search(rows: Sequence[Row]) -> str:
    """A row for each search and statistic. `above` is over every clean model."""
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
    """The whole scan's looks at the models of one folder of rows."""

    def __init__(self, folder: Path, bed: str = BED) -> None:
        models = {name: one for name, one in read_models(folder).items() if one.bed == bed}
        self.models, self.measured = models, dict[str, list[ScanStatistics]]()
        for row in read_scans(folder).values():
            one = models.get(row.name)
            if one and row.weights_sha256 == one.weights_sha256 and row.detector in DEFAULT_DETECTORS:
                self.measured.setdefault(row.name, []).append(row.measured)
        self.measured = {name: of for name, of in self.measured.items() if len(of) == len(DEFAULT_DETECTORS)}

    def row(self, name: str, rule: str) -> dict[Detector, Mapping[str, float]]:
        return {key: row for one in self.measured[name] for key, row in judged_row(one, rule).items()}


def p_values(suspects: Looks, null: Looks, rule: str) -> dict[str, float]:
    """Of each suspect by the calibration models of the null."""
    pool = [null.row(name, rule) for name in null.measured if null.models[name].split == "calibration"]
    return {name: conformal.judge(pool, suspects.row(name, rule)).p_value for name in suspects.measured}


def held_out(suspects: Looks, null: Looks) -> str:
    """A row for each rule: the p-values of poisoned models and of clean ones, and how many are under 5 %."""
    lines = []
    for rule, meaning in RULES.items():
        p = p_values(suspects, null, rule)
        poisoned, clean = [
            [p[name] for name in p if bool(suspects.models[name].asr) == kind] for kind in (True, False)
        ]
        lines.append((meaning, *_found(poisoned), *_found(clean)))
    return table(
        ("a family of collapse is judged by", "poisoned, p", "found", "never poisoned, p", "found"), lines
    )


def _found(p: Sequence[float]) -> tuple[str, str]:
    return ", ".join(f"{one:.3f}".lstrip("0") for one in p), _counted(sum(one <= LEVEL for one in p), len(p))


def _above(shares: Sequence[float], limit: float) -> str:
    return _counted(sum(share > limit for share in shares), len(shares))


def _counted(num: int, n: int) -> str:
    exact = clopper_pearson(num, n)
    return f"{num} of {n} [{100 * exact.low:.0f}, {100 * exact.high:.0f}]"


def rows() -> list[Row]:
    """As they were measured."""
    return [json.loads(line) for line in (ZOO / "one-place.jsonl").read_text(encoding="utf-8").splitlines()]


MAKERS: Mapping[str, Maker] = {
    "one place: searches": lambda _: by_search(rows()),
    "one place: held out": lambda _: held_out(Looks(ZOO / "one-place"), Looks(ZOO)),
}
