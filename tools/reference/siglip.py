"""The table of docs/uar/siglip.md, from the raw rows of `python -m lab.siglip`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cleanclip.spec.measures import Difference, Estimate
from lab.siglip.plan import Part, models
from tools.reference.markdown import Maker, table

_ROWS = Path(__file__).resolve().parents[2] / "docs" / "uar" / "siglip.jsonl"
_HEADINGS = ("model", "n of ASR", "ASR before", "ASR after", "n of CA", "CA before", "CA after", "CA lost")
_COUNTS = ("n", "successes")


def rows() -> Mapping[str, Mapping[str, Any]]:
    """By the name of the model."""
    lines = [json.loads(line) for line in _ROWS.read_text(encoding="utf-8").splitlines()]
    return {line["model"]: line for line in lines}


def by_model(part: Part) -> str:
    """A row for each model: what the reports of the service count."""
    return table(_HEADINGS, _of_models(part))


def _of_models(part: Part) -> Iterator[list[str]]:
    for model in models(part):
        row = rows().get(model.name)
        if row is None:
            continue
        before, after, lost = row["before"], row["after"], Difference(**row["lost"])
        kind = "poisoned" if model.options.attack else "clean"
        yield [
            f"{kind}, seed {model.seed}",
            f"{before['asr']['n']:,}",
            _share(before["asr"]),
            _share(after["asr"]),
            f"{before['ca']['n']:,}",
            _share(before["ca"]),
            _share(after["ca"]),
            f"{100 * lost.value:.1f} ({100 * lost.low:.1f} to {100 * lost.high:.1f})",
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
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


MAKERS: Mapping[str, Maker] = {
    "siglip held out": lambda kept: by_model("held_out"),
}
