"""One fact has one word: of verdicts, of the trail, and of each figure of a report."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from app.domain.verdicts import VerdictOutcome
from cleanclip.command.gate import OUTCOMES
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.figures import OF_ATTACK, OF_MODEL, OF_RETRIEVAL, in_brief
from cleanclip.vocabulary.measures import Estimate, RankDistribution
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.verdicts import MEANINGS, WORST_FIRST, Outcome, headline, scan_headline
from tests.fixtures.kept_reports import FOLDER, NAMES, document

ROOT = Path(__file__).resolve().parents[3]
OLD_WORDS = re.compile(r"\baudit[ _-](log|trail)\b|\bnot[ _]implanted\b", re.I)
BY_ANOTHER_CHECK = {
    "ca_per_class.*.accuracy",
    "attacks.*.towards_now.triggered",
    "attacks.*.towards_now.untriggered",
}
"""Classes stand in a list of their own; `towards_now` is held against `towards`."""


@pytest.mark.parametrize("outcome", WORST_FIRST)
def test_an_outcome_has_a_meaning_and_a_headline_that_ends_with_its_word(outcome: Outcome) -> None:
    assert all((MEANINGS[outcome].of_job, MEANINGS[outcome].of_part, MEANINGS[outcome].remedy))
    for is_cleaned in (True, False):
        assert headline(outcome, is_cleaned=is_cleaned, num_triggers=2).endswith(f": {outcome}")
    for has_null in (True, False, None):
        assert scan_headline(outcome, has_null=has_null).endswith(f": {outcome}")


def test_service_and_gate_know_the_outcomes_of_the_vocabulary_worst_first() -> None:
    assert tuple(VerdictOutcome) == WORST_FIRST
    assert WORST_FIRST[:-1] == OUTCOMES


@pytest.mark.parametrize("name", NAMES)
def test_the_reason_of_a_verdict_begins_with_its_headline(name: str) -> None:
    report = load_json((FOLDER / f"{name}.json").read_bytes())
    is_cleaned, num_triggers = report.after is not None, report.before.num_triggers(report.verdict.attacks)
    found = headline(report.verdict.outcome, is_cleaned=is_cleaned, num_triggers=num_triggers)
    assert report.verdict.reason.startswith(f"{found}. ")


def test_the_old_words_are_gone() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "app", "cleanclip", "worker", "sanitizer", "docs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    texts = [path for path in listed if path.endswith((".py", ".md", ".html", ".j2", ".json"))]
    reported = [
        path for path in texts if not re.search(r"docs/(decisions|reproduction|broken|verification)", path)
    ]
    found = [path for path in reported if OLD_WORDS.search((ROOT / path).read_text(encoding="utf-8"))]
    assert found == []


def measured(kind: Any, path: str = "") -> Iterator[str]:
    """The path of every share and every place of a target that a dataclass can hold."""
    if get_origin(kind) in {Union, UnionType}:
        for one in get_args(kind):
            yield from measured(one, path)
    elif get_origin(kind) is tuple:
        yield from measured(get_args(kind)[0], f"{path}.*")
    elif kind in {Estimate, RankDistribution}:
        yield path.lstrip(".")
    elif is_dataclass(kind):
        types = get_type_hints(kind)
        for one in fields(kind):
            yield from measured(types[one.name], f"{path}.{one.name}")


def test_every_share_that_a_report_can_hold_stands_in_the_table_of_figures() -> None:
    of_attacks = (f"attacks.*.{figure.path}" for figure in OF_ATTACK)
    listed = {figure.path for figure in (*OF_MODEL, *OF_RETRIEVAL)} | {*of_attacks}
    assert {*measured(AuditFigures)} - BY_ANOTHER_CHECK == listed


def test_json_and_reports_have_the_same_rows_in_brief() -> None:
    for name in NAMES:
        assert in_brief(document(name)) == in_brief(load_json((FOLDER / f"{name}.json").read_bytes()))
