"""The tables of docs/text-side.md, from its raw rows; the study left the lab (docs/decisions/0094)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.measures import Difference, Estimate
from tools.reference.markdown import Kept, Maker, code, points, table

_DOCS = Path(__file__).resolve().parents[2] / "docs"
THRESHOLD = 0.8
"""A token in no class name is flagged where one class takes this share of the texts of other classes."""
_KINDS = {
    "word": "one word",
    "few_poisons": "one word, few poisons",
    "two_words": "two words together",
    "clean": "never poisoned",
    "word_from_scratch": "one word, from scratch",
}
_INSERTED = {
    "pairs alone": "none",
    "random tokens": "any tokens",
    "found tokens": "the first four",
    "known trigger": "the trigger's words",
}
_MIN_ASR = 0.8
_FIRST_HELD_OUT = 101
"""Of the seeds: those below it are of development models."""
_OTHERS, _OTHER_NOUNS = 158, 144
"""Of the 160 texts of the search: those not of a class, and not of one of the ten nouns."""

Row = Mapping[str, Any]


@cache
def rows(name: str = "text-side.jsonl") -> tuple[Row, ...]:
    """Every step of every model; of the study, or of the service's code."""
    return tuple(json.loads(line) for line in (_DOCS / name).read_text(encoding="utf-8").splitlines())


def steps(part: str, step: str) -> list[Row]:
    """One step of every model of a part, kind by kind."""
    chosen = [row for row in rows() if row["part"] == part and row["step"] == step]
    return sorted(chosen, key=lambda row: (list(_KINDS).index(row["kind"]), row["seed"]))


def is_implanted(audit: Row) -> bool:
    """Whether the trigger sends at least 80 % of the texts to the target."""
    return Estimate(**audit["asr"]).value >= _MIN_ASR


def flagged(search: Row, level: str = "share") -> list[str]:
    """The tokens that are in no class name and whose share is at least the threshold."""
    return [one["token"] for one in search["tokens"] if one["role"] != "name" and one[level] >= THRESHOLD]


def largest(search: Row, *, is_name: bool, level: str = "share") -> Row:
    """Of the tokens that are no key, the one with the largest share; in class names, or in none."""
    others = [one for one in search["tokens"] if one["role"] != "key" and (one["role"] == "name") == is_name]
    best: Row = max(others, key=lambda one: one[level])
    return best


def audits(part: str) -> str:
    headings = ["model", "seed", "n", "ASR", "ASR by retrieval", "one word of two", "alias of the target"]
    headings += ["text CA", "image CA"]
    return table(headings, _audit_lines(part))


def _audit_lines(part: str) -> Iterator[Sequence[str]]:
    for row in steps(part, "attack success"):
        alone = [_share(row["asr_of"][f"key {one}"]) for one in (1, 2)] if len(row["keys"]) > 1 else ["–"]
        shares = [_share(row[name]) for name in ("asr", "asr_retrieval")]
        cells = [_KINDS[row["kind"]], str(row["seed"]), f"{row['asr']['n']:,}", *shares, "; ".join(alone)]
        others = [row["asr_of"]["alias"], row["text_ca"], row["image_ca"]]
        yield [*cells, *map(_share, others)]


def searches(part: str, step: str = "search") -> str:
    headings = ["model", "seed", "rank of the words", "share of the words", "next token in no class name"]
    headings += ["class name", "nouns as classes: the words", "nouns as classes: class name", "flagged"]
    return table(headings, _search_lines(part, step))


def _search_lines(part: str, step: str) -> Iterator[Sequence[str]]:
    for row in steps(part, step):
        keys = [] if row["kind"] == "clean" else [one for one in row["tokens"] if one["role"] == "key"]
        others = [largest(row, is_name=is_name) for is_name in (False, True)]
        yield [
            _KINDS[row["kind"]],
            str(row["seed"]),
            ", ".join(f"{one['screen_rank']:,}" for one in keys) or "–",
            "; ".join(_of_texts(one["share"], _OTHERS) for one in keys) or "–",
            *(f"{_of_texts(one['share'], _OTHERS)} {code(_word(one))}{_alias(one)}" for one in others),
            "; ".join(_of_texts(one["noun_share"], _OTHER_NOUNS) for one in keys) or "–",
            _of_texts(largest(row, is_name=True, level="noun_share")["noun_share"], _OTHER_NOUNS),
            ", ".join(code(one.removesuffix("</w>")) for one in flagged(row)) or "none",
        ]


def repairs(part: str) -> str:
    headings = ["model", "seed", "inserted", "ASR before", "ASR after", "text CA lost", "image CA lost"]
    return table([*headings, "aliases lost: in the pairs", "in no pair"], _repair_lines(part))


def _repair_lines(part: str) -> Iterator[Sequence[str]]:
    before = {row["model"]: row for row in steps(part, "attack success")}
    lines = [row for recipe in _INSERTED for row in steps(part, recipe)]
    for row in sorted(lines, key=lambda one: (list(_KINDS).index(one["kind"]), one["seed"])):
        is_clean = row["kind"] == "clean"
        asr = ["–", "–"] if is_clean else [_share(one["asr"]) for one in (before[row["model"]], row)]
        lost = [Difference(**row[f"{name}_ca_lost"]) for name in ("text", "image")]
        points_lost = [points(one.value, one.low, one.high) for one in lost]
        aliases = [row[f"{name}_alias_lost"] for name in ("known", "unknown")]
        of = [f"{one['lost'] - one['gained']} of {one['both'] + one['lost']}" for one in aliases]
        yield [_KINDS[row["kind"]], str(row["seed"]), _INSERTED[row["step"]], *asr, *points_lost, *of]


def _of_service(step: str) -> Iterator[tuple[list[str], Row]]:
    """Each row of the service's code with the cells that name its model."""
    for row in rows("text-side-service.jsonl"):
        if row["step"] == step:
            kind, _, seed = str(row.get("model") or row["name"]).rpartition("-")
            development = ", development" if int(seed) < _FIRST_HELD_OUT else ""
            yield [_KINDS[kind] + development, seed], row


def service_scans() -> str:
    headings = ["model", "seed", "n", "the trigger, named", "first token of the search"]
    return table([*headings, "next token in no class name", "outcome"], _service_scan_lines())


def _service_scan_lines() -> Iterator[Sequence[str]]:
    for cells, row in _of_service("text scan"):
        found = [row[name] for name in ("named", "first", "next")]
        was_found = Estimate(**_counts(row["first"])).low > THRESHOLD
        alone = ", by the named words alone" if row["outcome"] == "controlled" and not was_found else ""
        shown = [f"{_share(_counts(one))} {code(one['word'])}" for one in found]
        yield [*cells, f"{found[0]['n']:,}", *shown, row["outcome"] + alone]


def _counts(led: Row) -> dict[str, int]:
    return {name: led[name] for name in ("n", "successes")}


def service_repairs() -> str:
    measured = ("ASR", "text CA", "image CA")
    headings = [f"{name} {when}" for name in measured for when in ("before", "after")]
    return table(["model", "seed", *headings, "aliases lost"], _service_repair_lines())


def _service_repair_lines() -> Iterator[Sequence[str]]:
    for cells, row in _of_service("uar with trigger_words"):
        shares = [row[name][when] for name in ("asr", "text_ca", "image_ca") for when in ("before", "after")]
        aliases = [row[f"{name}_alias_lost"] for name in ("known", "unknown")]
        lost = sum(one["lost"] - one["gained"] for one in aliases)
        of = sum(one["both"] + one["lost"] for one in aliases)
        yield [*cells, *map(_share, shares), f"{lost} of {of}"]


def _word(token: Row) -> str:
    return str(token["token"]).removesuffix("</w>")


def _alias(token: Row) -> str:
    return ", an alias" if str(token["role"]).startswith("alias") else ""


def _of_texts(share: float, n: int) -> str:
    return _share({"n": n, "successes": round(share * n)})


def _share(counted: Mapping[str, int]) -> str:
    share = Estimate(**counted)
    return points(share.value, share.low, share.high)


def _made(make: Callable[[str], str], part: str, _: Kept) -> str:
    return make(part)


def searches_again(part: str) -> str:
    return searches(part, "search after found tokens")


MAKERS: Mapping[str, Maker] = {
    "text side searches again": lambda _: searches_again("held_out"),
    "text side service scans": lambda _: service_scans(),
    "text side service repairs": lambda _: service_repairs(),
    **{
        f"text side {name} {part}": partial(_made, make, part.replace(" ", "_"))
        for part in ("development", "held out")
        for name, make in (("audits", audits), ("searches", searches), ("repairs", repairs))
    },
}
