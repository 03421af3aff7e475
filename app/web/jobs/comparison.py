"""Jobs set side by side: which rows there are, and which of them differ. Pure; does not depend on a request.

Two figures are comparable where they are of the same images under the same trigger: what is not is said.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from app.db.models.job import Job
from app.domain.states import TERMINAL, JobState
from app.schemas.jobs import ResultOut
from app.schemas.scans import ControlOut
from app.web.jobs import figures
from app.web.jobs.figures import AttackLine, VerdictLabel
from cleanclip.vocabulary.measures import Estimate

LEAST_COMPARED, MOST_COMPARED = 2, 6
HAS_NOT = "–"
"""The value of an option that a job's group has not."""
_LONGEST_SHOWN = 120
_MOST_DIGITS = 12


class Unknown(Enum):
    """What is not known (yet) of a job: a value of its own, which differs from no other."""

    UNKNOWN = "not known"


UNKNOWN = Unknown.UNKNOWN
Value = str | Unknown


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a job read and what ran it; None: not known (yet)."""

    data: Mapping[str, str | None]
    """Digests of the datasets by what they are for: training, labelled, retrieval."""
    weights_sha256: str | None
    """Of the weights that came in, as they were inspected."""
    code_version: str | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One job."""

    job: Job
    filename: str | None
    result: ResultOut | None
    inputs: Inputs

    @property
    def verdict_label(self) -> VerdictLabel | None:
        return figures.verdict_label(self.result)

    @property
    def took_s(self) -> float | None:
        return figures.took_s(self.job)

    @property
    def why_no_verdict(self) -> str:
        """In the verdict's place."""
        if self.job.state not in TERMINAL:
            return "none yet"
        return "none" if self.job.state is JobState.SUCCEEDED else f"none: it {_ENDED[self.job.state]}"

    @property
    def control(self) -> Mapping[str, ControlOut]:
        """By family."""
        if self.result is None:
            return {}
        searched = self.result.control if self.result.scan is None else self.result.scan.control
        return {one.family: one for one in searched}

    def line(self, attack: str) -> AttackLine | None:
        lines = figures.attack_lines(self.result) if self.result else ()
        return next((line for line in lines if line.name == attack), None)

    def why_no_figures(self, attack: str) -> str:
        """In the place of an attack's figures that the job has not."""
        if attack not in figures.ordered_attacks(self.job):
            return "not tested"
        return "not measured" if self.job.state in TERMINAL else "not measured yet"


_ENDED = {JobState.FAILED: "failed", JobState.CANCELLED: "was cancelled"}


@dataclass(frozen=True, kw_only=True)
class AttackRows:
    """One attack, a line for each job; None where the job did not measure it, and then why."""

    name: str
    lines: Sequence[AttackLine | None]
    reasons: Sequence[str]

    @property
    def is_same(self) -> bool:
        """Whether all that have it have the same trigger and the same target."""
        tried = [line.before for line in self.lines if line is not None and line.before is not None]
        return len({(one.trigger_sha256, one.target) for one in tried}) <= 1


@dataclass(frozen=True, kw_only=True)
class ControlRow:
    """Of one family of patterns what the strongest does, for each job; None where it was not searched."""

    family: str
    found: Sequence[ControlOut | None]


@dataclass(frozen=True, kw_only=True)
class OptionRow:
    """One option, a value for each job."""

    group: str
    name: str
    values: Sequence[Value | None]
    """None: the job has nothing of the group, as an audit has no recipe: not a difference of options."""

    @property
    def differs(self) -> bool:
        return len(set(self.values) - {None, UNKNOWN}) > 1

    @property
    def is_unknown(self) -> bool:
        """Whether it may differ, as far as is known."""
        return not self.differs and UNKNOWN in self.values

    @property
    def value(self) -> Value:
        """Of a row that does not differ."""
        return next((value for value in self.values if isinstance(value, str)), UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    columns: Sequence[Column]
    attacks: Sequence[AttackRows]
    control: Sequence[ControlRow]
    """Of scans on the weights that came in, of cleanings on those that they made."""
    options: Sequence[OptionRow]

    @property
    def differing(self) -> Mapping[str, Sequence[OptionRow]]:
        """By group, in the order of the order."""
        groups: dict[str, list[OptionRow]] = {}
        for row in self.options:
            if row.differs:
                groups.setdefault(row.group, []).append(row)
        return groups

    @property
    def equal(self) -> Sequence[OptionRow]:
        return [row for row in self.options if not row.differs and not row.is_unknown]

    @property
    def unknown(self) -> Sequence[OptionRow]:
        """Of some jobs not known, and the same in the others."""
        return [row for row in self.options if row.is_unknown]

    @property
    def test_data(self) -> Sequence[str | None]:
        return [column.inputs.data.get("labelled") for column in self.columns]

    @property
    def is_of_other_data(self) -> bool:
        """Some were measured on other images than others."""
        return len({digest for digest in self.test_data if digest}) > 1

    @property
    def is_of_unknown_data(self) -> bool:
        return None in self.test_data

    @property
    def num_images(self) -> Sequence[int | None]:
        return [
            column.result.before.ca.n if column.result and column.result.before else None
            for column in self.columns
        ]


def compare(columns: Sequence[Column]) -> Comparison:
    names = dict.fromkeys(
        attack.name
        for column in columns
        if column.result and column.result.before
        for attack in column.result.before.attacks
    )
    return Comparison(
        columns=columns,
        attacks=[
            AttackRows(
                name=name,
                lines=[column.line(name) for column in columns],
                reasons=[column.why_no_figures(name) for column in columns],
            )
            for name in names
        ],
        control=[
            ControlRow(family=family, found=[column.control.get(family) for column in columns])
            for family in dict.fromkeys(name for column in columns for name in column.control)
        ],
        options=_option_rows([dict(_options(column)) for column in columns]),
    )


def _option_rows(options: Sequence[Mapping[tuple[str, str], Value]]) -> Sequence[OptionRow]:
    names = dict.fromkeys(name for one in options for name in one)
    groups = list(dict.fromkeys(group for group, _ in names))
    had = [{group for group, _ in one} for one in options]
    return [
        OptionRow(
            group=group,
            name=name,
            values=[
                one.get((group, name), HAS_NOT) if group in its else None
                for one, its in zip(options, had, strict=True)
            ],
        )
        for group, name in sorted(names, key=lambda each: groups.index(each[0]))
    ]


def _options(column: Column) -> Iterator[tuple[tuple[str, str], Value]]:
    spec = column.job.spec
    yield ("order", "kind"), str(column.job.kind)
    for group in ("recipe", "audit", "scan", "policy"):
        its = spec.get(group) or {}
        yield from (((group, name), text) for name, text in _flat(its))
    if spec.get("policy_source"):
        yield ("policy", "from"), _policy_source(spec["policy_source"])
    yield ("seeds", "seed"), str(column.job.seed)
    before = column.result.before if column.result else None
    yield ("seeds", "seed of the audits"), UNKNOWN if before is None else str(before.seed)
    if spec.get("output_layout"):
        yield ("output", "layout"), str(spec["output_layout"])
    for use, digest in column.inputs.data.items():
        yield ("data", f"{use}, SHA-256"), digest or UNKNOWN
    weights = column.inputs.weights_sha256 if before is None else before.weights_sha256
    yield ("data", "input weights, SHA-256"), weights or UNKNOWN
    yield ("code", "version"), column.inputs.code_version or UNKNOWN


def _policy_source(source: Mapping[str, Any]) -> Value:
    return f"kept as {source['name']}" if source.get("name") else str(source["given"])


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values as text; attacks by their place in the list."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{name}.")
        elif isinstance(item, list) and any(isinstance(one, Mapping) for one in item):
            for place, one in enumerate(item, start=1):
                yield from _flat(one, f"{prefix}{name}.{place}.")
        else:
            yield f"{prefix}{name}", _text(item)


def _text(value: Any) -> str:
    """One value; what is long by its beginning and its digest, so that two that differ look different."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST_SHOWN:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_MOST_DIGITS]
    return f"{text[: _LONGEST_SHOWN // 2]}… ({len(text)} characters, SHA-256 {digest}…)"


def interval_text(estimate: Estimate) -> str:
    """91.0 to 95.0 %, n = 500."""
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %, n = {estimate.n}"
