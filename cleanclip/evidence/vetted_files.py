"""excluded.json and the scores beside the report of a vetting: held to it, and to each other, line by line.

Each sample that is set aside is in the list, is among the worst of the scores, and its ranks are those that
the scores give. p-values cannot be worked out again: the scores of the trusted samples are not kept. They are
held to the order of the scores.
"""

from __future__ import annotations

import gzip
import json
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanclip.evidence.counted import close, same
from cleanclip.evidence.findings import NOT_READ, Finding, misfit
from cleanclip.evidence.folder import CheckedFolder
from cleanclip.evidence.reading import Malformed, first_problem
from cleanclip.evidence.vettings import is_share
from cleanclip.vocabulary.exclusions import MAX_LIST_BYTES, Exclusions, Key, load_exclusions
from cleanclip.vocabulary.vet_report import (
    EXCLUDED_NAME,
    VET_SCORES_NAME,
    Finite,
    Quantiles,
    VetReport,
    combined_of,
)

MAX_LINE_BYTES = 16 * 1024
_Share = Annotated[float, Interval(ge=0, le=1)]


class _Line(BaseModel):
    """One good sample."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    index: int = Field(ge=0)
    key: Key
    combined: _Share
    set_aside: bool
    scores: dict[str, tuple[Finite, _Share]]


@dataclass
class _Columns:
    """What is kept of the lines: numbers only."""

    names: tuple[str, ...]
    values: list[array[float]] = field(default_factory=list)
    shares: list[array[float]] = field(default_factory=list)
    combined: array[float] = field(default_factory=lambda: array("d"))
    set_aside: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.values = [array("d") for _ in self.names]
        self.shares = [array("d") for _ in self.names]

    def add(self, line: _Line) -> None:
        for column, name in enumerate(self.names):
            value, share = line.scores[name]
            self.values[column].append(value)
            self.shares[column].append(share)
        self.combined.append(line.combined)
        self.set_aside.append(line.set_aside)


def parse_list(content: bytes) -> Exclusions:
    """Raises Malformed."""
    try:
        return load_exclusions(content)
    except ValidationError as error:
        where, what = first_problem(error)
        raise Malformed(f"is not a list of samples to leave out ({where}: {what})") from error
    except ValueError as error:
        raise Malformed(f"cannot be read: {error}") from error


def check_files(report: VetReport, folder: CheckedFolder) -> Iterator[Finding]:
    """The list and the scores that a vetting's report speaks of."""
    yield from folder.missing(EXCLUDED_NAME, VET_SCORES_NAME)
    exclusions = folder.read(EXCLUDED_NAME, parse_list, MAX_LIST_BYTES)
    if exclusions is not None:
        yield from check_list(report, exclusions, folder.sha256[EXCLUDED_NAME])
    sha256 = folder.sha256.get(VET_SCORES_NAME, NOT_READ)
    if sha256 != NOT_READ:
        yield from check_scores(report, exclusions, folder.path / VET_SCORES_NAME, sha256)


def check_list(report: VetReport, exclusions: Exclusions, sha256: str) -> Iterator[Finding]:
    """Whether the list is the one that the report names, for its reason and of its dataset."""
    for what, reported, expected in (
        ("its SHA-256", sha256, report.list_sha256),
        ("dataset_sha256", exclusions.dataset_sha256, report.vetted.sha256),
        ("num_samples", exclusions.num_samples, report.vetted.num_samples),
        ("reason", exclusions.reason, report.reason),
        ("the number of samples", len(exclusions.samples), report.set_aside.num),
    ):
        if reported != expected:
            yield Finding(file=EXCLUDED_NAME, where=what, message="is not what report.json says")


def check_scores(
    report: VetReport, exclusions: Exclusions | None, path: Path, sha256: str
) -> Iterator[Finding]:
    """Reads the scores once, a line at a time. Raises OSError."""
    if sha256 != report.scores_sha256:
        yield misfit("scores_sha256", f"is not that of {VET_SCORES_NAME}")
    columns = _Columns(names=tuple(one.name for one in report.scores))
    listed = iter(()) if exclusions is None else iter(exclusions.samples)
    worst = {one.index: one for one in report.worst}
    before = -1
    try:
        for line in _lines(path, report):
            if not before < line.index < report.vetted.num_samples:
                raise Malformed(f"is out of order at sample {line.index}")
            before = line.index
            _check_line(line, report, columns.names)
            if line.set_aside and exclusions is not None:
                one = next(listed, None)
                if one is None or (one.index, one.key) != (line.index, line.key):
                    raise Malformed(f"sets sample {line.index} aside, and {EXCLUDED_NAME} does not")
            if (shown := worst.pop(line.index, None)) is not None:
                reported = {score.name: (score.value, score.p) for score in shown.scores}
                is_same = (shown.key, reported) == (line.key, line.scores)
                if not is_same or not line.set_aside:
                    yield misfit("worst", f"is not what {VET_SCORES_NAME} says of sample {line.index}")
            columns.add(line)
        if len(columns.combined) != report.set_aside.of:
            raise Malformed(f"has {len(columns.combined)} lines, not {report.set_aside.of}")
        if worst:
            yield misfit("worst", f"shows a sample that {VET_SCORES_NAME} does not have")
    except Malformed as error:
        yield Finding(file=VET_SCORES_NAME, message=str(error))
        return
    yield from _against(report, columns)


def _lines(path: Path, report: VetReport) -> Iterator[_Line]:
    """Raises Malformed. At most one line more than there are good samples, each bounded."""
    try:
        with gzip.open(path, "rb") as file:
            for _ in range(report.set_aside.of + 1):
                raw = file.readline(MAX_LINE_BYTES + 1)
                if not raw:
                    return
                if len(raw) > MAX_LINE_BYTES:
                    raise Malformed("has a line that is too long")
                yield _Line.model_validate(_strict(raw))
    except ValidationError as error:
        where, what = first_problem(error)
        raise Malformed(f"has a line that is not a sample's ({where}: {what})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise error if isinstance(error, Malformed) else Malformed("is not gzip with JSON lines") from error


def _strict(raw: bytes) -> Any:
    document = json.loads(raw)
    if isinstance(document, dict) and isinstance(document.get("scores"), dict):
        for name, one in document["scores"].items():
            if isinstance(one, list):
                document["scores"][name] = tuple(float(part) for part in one)
    return document


def _check_line(line: _Line, report: VetReport, names: Sequence[str]) -> None:
    if tuple(line.scores) != tuple(names):
        raise Malformed(f"has other scores at sample {line.index}")
    shares = [share for _, share in line.scores.values()]
    if not all(is_share(share, report) for share in shares):
        raise Malformed(f"has a p-value or rank at sample {line.index} that so many samples cannot give")
    if not close(line.combined, combined_of(shares)):
        raise Malformed(f"combines the scores of sample {line.index} otherwise")


def _against(report: VetReport, columns: _Columns) -> Iterator[Finding]:
    """What the report makes of all lines."""
    limit = max((p for p, aside in zip(columns.combined, columns.set_aside, strict=True) if aside), default=0)
    kept = (p for p, aside in zip(columns.combined, columns.set_aside, strict=True) if not aside)
    if sum(columns.set_aside) != report.set_aside.num or min(kept, default=1.0) < limit - 1e-12:
        yield misfit("set_aside", f"is not the worst by {VET_SCORES_NAME}")
    shown = max((one.combined for one in report.worst), default=0.0)
    num_worse = sum(p < shown - 1e-12 for p in columns.combined)
    if num_worse > len(report.worst):
        yield misfit("worst", f"leaves out worse samples of {VET_SCORES_NAME}")
    for place, level in enumerate(report.levels):
        num = sum(p <= level.level for p in columns.combined)
        yield from same(f"num_at_levels[{place}]", level.num, num)
    decisive = [0] * len(columns.names)
    for row, aside in enumerate(columns.set_aside):
        if aside:
            shares = [share[row] for share in columns.shares]
            decisive[shares.index(min(shares))] += 1
    for place, summary in enumerate(report.scores):
        where = f"scores[{place}]"
        yield from same(f"{where}.num_decisive", summary.num_decisive, decisive[place])
        in_order = sorted(columns.values[place])
        yield from _quantiles(f"{where}.vetted", summary.vetted, in_order)
        yield from _ranks(where, report, columns.values[place], columns.shares[place], in_order)


def _quantiles(where: str, reported: Quantiles, in_order: Sequence[float]) -> Iterator[Finding]:
    """Linear between neighbours, as numpy's."""
    for name, share in (("low", 0.0), ("median", 0.5), ("q95", 0.95), ("q99", 0.99), ("high", 1.0)):
        place = share * (len(in_order) - 1)
        below = int(place)
        above = min(below + 1, len(in_order) - 1)
        expected = in_order[below] + (place - below) * (in_order[above] - in_order[below])
        if not close(getattr(reported, name), expected):
            yield misfit(f"{where}.{name}", f"is not that of {VET_SCORES_NAME}")


def _ranks(
    where: str, report: VetReport, values: array[float], shares: array[float], in_order: Sequence[float]
) -> Iterator[Finding]:
    """Ranks are worked out again; p-values never rise with a score, and are equal where scores are."""
    num = len(in_order)
    if report.basis == "ranks":
        wrong = any(
            not close(share, (num - bisect_left(in_order, value)) / num)
            for value, share in zip(values, shares, strict=True)
        )
    else:
        pairs = sorted(zip(values, (-share for share in shares), strict=True))
        wrong = any(
            later[1] < earlier[1] - 1e-12 or (later[0] == earlier[0] and later[1] != earlier[1])
            for earlier, later in pairwise(pairs)
        )
    if wrong:
        yield misfit(where, f"has p-values or ranks in {VET_SCORES_NAME} that its values do not give")
