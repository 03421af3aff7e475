"""The table of docs/uar/siglip.md, from its raw rows; the study left the lab (docs/decisions/0094)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.measures import Difference, Estimate
from tools.reference.markdown import Maker, points, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "uar" / "siglip.jsonl"
_HEADINGS = ("model", "n of ASR", "ASR before", "ASR after", "n of CA", "CA before", "CA after", "CA lost")
_COUNTS = ("n", "successes")


def rows() -> list[Mapping[str, Any]]:
    """One for each model."""
    return [json.loads(line) for line in _ROWS.read_text(encoding="utf-8").splitlines()]


def by_model() -> str:
    """A row for each model: what the reports of the service count."""
    return table(_HEADINGS, map(_cells, rows()))


def _cells(row: Mapping[str, Any]) -> list[str]:
    before, after, lost = row["before"], row["after"], Difference(**row["lost"])
    return [
        f"poisoned, seed {row['seed']}",
        f"{before['asr']['n']:,}",
        _share(before["asr"]),
        _share(after["asr"]),
        f"{before['ca']['n']:,}",
        _share(before["ca"]),
        _share(after["ca"]),
        points(lost.value, lost.low, lost.high),
    ]


def disagreements(row: Mapping[str, Any]) -> dict[str, int]:
    """By how many images the independent count differs from the report, of each figure that does."""
    return {
        f"{when} {share}": row["counted"][when][share]["successes"] - row[when][share]["successes"]
        for when in ("before", "after")
        for share in ("ca", "asr")
        if any(row["counted"][when][share][one] != row[when][share][one] for one in _COUNTS)
    }


def _share(counted: Mapping[str, int]) -> str:
    share = Estimate(**counted)
    return points(share.value, share.low, share.high)


MAKERS: Mapping[str, Maker] = {
    "siglip held out": lambda _: by_model(),
}
