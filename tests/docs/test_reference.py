"""Nothing that exists is undocumented: routes, error codes, commands, options, fields.

Settings: tests/unit/test_operators_guide.py. Variables of the client: tests/unit/cleanclip/test_guide.py.
"""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.settings import Settings
from cleanclip.vocabulary import schemas
from cleanclip.vocabulary.policy import Policy
from tools.reference import __main__ as reference
from tools.reference import codes, commands, options, routes

PAGES = reference.PAGES
ANEW = "Write it again: make format; then fill what is empty in the last column by hand."
DYNAMIC = {
    "sanitizer/checkpoints/naming.py": 1,  # of the table FOREIGN
    "sanitizer/checkpoints/rejection.py": 1,  # `refusal` itself
    "sanitizer/data/labelled.py": 2,  # bad_class_names or bad_template
    "sanitizer/data/skipping.py": 1,  # of the table CODE_OF_REASON
    "cleanclip/vocabulary/null_set.py": 1,  # `null_refused` itself
    "sanitizer/rendering/checked_report.py": 1,  # `_rejected` itself
    "worker/publishing/first_scan.py": 1,  # what `audit_with` refused: literals of the library
    "worker/publishing/withholding.py": 1,  # `trained_on_the_test`
    "worker/failures.py": 1,  # what the service's domain said
    "worker/refusals.py": 1,  # a code of the table
    "worker/staging/stage.py": 1,  # what `load_null` refused
    "worker/confinement/outcome.py": 1,  # how a child ended
    "worker/supervision.py": 2,  # `_failed` itself
}
"""Where a code is not a literal: each was looked at, and its codes are known to tools/reference/codes.py."""


def text_of(name: str) -> str:
    return (reference.REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_page_is_as_the_code_has_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.made(text) == text, ANEW


def test_the_workers_table_of_refusals_is_as_the_code_has_it() -> None:
    assert codes.REFUSALS.read_text(encoding="utf-8") == codes.refusals(), ANEW


def test_each_table_stands_on_one_page() -> None:
    found = [name for page in PAGES for name in reference.regions(page.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(reference.MAKERS), "a region without a maker, or a maker without a region"


def without_meaning(page: str) -> list[str]:
    """Rows of options, codes and fields that say nothing in their last column."""
    return re.findall(r"^(\| `[^`]+` \|.*\|  \|)$", page, re.M)


@pytest.mark.parametrize("name", ["options.md", "report.md", "errors.md"])
def test_each_option_field_and_code_has_a_meaning(name: str) -> None:
    assert without_meaning(text_of(name)) == [], ANEW


def test_an_option_has_the_meaning_that_the_code_gives_it() -> None:
    """What was written into its cell by hand is not kept beside a description."""
    kept = text_of("options.md").replace("Options of the detector `edits`.", "By hand.")
    assert "By hand." not in reference.made(kept)


def test_no_route_but_the_ways_to_the_pages_is_left_out_of_the_schema() -> None:
    """What the schema leaves out, the reference does not see."""
    hidden = {
        route.path
        for route in routes.create_app(Settings()).routes
        if isinstance(route, APIRoute) and not route.include_in_schema
    }
    assert hidden == {"/", "/ui"}


def test_each_command_and_each_option_says_what_it_is() -> None:
    silent = [
        f"{command.name} {option.names}"
        for found in commands.everything().values()
        for command in found
        for option in command.options
        if option.names.startswith("-") and not option.meaning
    ]
    assert silent == [], "give it a help text"
    assert [c.name for found in commands.everything().values() for c in found[1:] if not c.text] == []


def test_each_row_of_an_option_stands_once_and_each_command_names_the_options_that_it_shares() -> None:
    page = text_of("cli.md")
    for program, found in commands.everything().items():
        region = page.partition(f"<!-- begin: commands of {program} -->")[2].partition("<!-- end")[0]
        rows = re.findall(r"^\| (?:`|<code>)-.*$", region, re.M)
        assert len(rows) == len(set(rows)) > 5
        common = commands.shared(found)
        for command in (one for one in found if one.name != program):
            part = region.partition(f"### {command.name}\n")[2].partition("\n### ")[0]
            named = re.findall(r"`(--?[\w-]+)`", part.partition("\nShared: ")[2])
            assert named == [one.names.split()[0].rstrip(",") for one in command.options if one in common]


def test_each_code_of_the_library_can_be_read_from_its_source() -> None:
    found: dict[str, int] = {}
    for one in codes.raised(frozenset().union(*codes.KINDS.values()), *codes.PACKAGES):
        if not one.code:
            found[one.path] = found.get(one.path, 0) + 1
    assert found == DYNAMIC


def test_each_reason_that_the_hostile_corpus_was_refused_with_is_there() -> None:
    corpus = (reference.ROOT / "docs" / "hostile-files.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\w+` \|.*?\| `(\w+)` \|", corpus, re.M)
    assert len(set(rows)) > 50
    assert set(rows) <= set(re.findall(r"^\| `(\w+)` \|", text_of("errors.md"), re.M))


def test_no_name_of_a_figure_has_a_place_to_fill_in() -> None:
    assert not re.search(r"^\| `before[^|]+\|.*[{}]", text_of("report.md"), re.M)


NOT_DESCRIBED = {"Report"}
"""The page itself describes it."""


def test_each_part_of_a_report_is_described() -> None:
    reported = [(title, part.get("description")) for title, part in options.objects("report")]
    silent = {title for title, description in reported if not description}
    assert silent == NOT_DESCRIBED, "give the dataclass a docstring"


class TestItCanFail:
    """Something new in the code, and no page written for it."""

    def test_a_new_error_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        new = {**codes.ERROR_CODES, "moon_is_full": codes.ERROR_CODES["bad_request"]}
        monkeypatch.setattr(codes, "ERROR_CODES", new)
        made = reference.made(text_of("errors.md"))
        assert made != text_of("errors.md")
        assert [row[:16] for row in without_meaning(made)] == ["| `moon_is_full`"]

    def test_a_new_route(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = routes.create_app

        def with_one_more(*args: Any, **others: Any) -> FastAPI:
            app = whole(*args, **others)
            app.add_api_route("/v1/moon", lambda: {}, tags=["jobs"], summary="The moon")
            return app

        monkeypatch.setattr(routes, "create_app", with_one_more)
        assert "\n| `GET /v1/moon` | The moon |\n" in reference.made(text_of("api.md"))
        assert "/v1/moon" not in text_of("api.md")

    def test_a_new_option_of_a_policy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = [("moon_at_most", float, dataclasses.field(default=1.0))]
        new = dataclasses.make_dataclass("Policy", fields, bases=(Policy,), frozen=True, kw_only=True)
        monkeypatch.setitem(schemas.DOCUMENTS, "policy", new)
        made = reference.made(text_of("options.md"))
        assert made != text_of("options.md")
        assert [row for row in without_meaning(made) if "moon_at_most" in row]

    def test_a_new_option_of_a_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = commands.library_commands

        def with_one_more() -> argparse.ArgumentParser:
            parser = whole()
            parser._subparsers._group_actions[0].choices["inspect"].add_argument("--moon")  # type: ignore
            return parser

        monkeypatch.setattr(commands, "library_commands", with_one_more)
        assert reference.made(text_of("cli.md")) != text_of("cli.md")
        found = commands.everything()["python -m sanitizer"]
        assert "--moon MOON" in [o.names for c in found for o in c.options if not o.meaning]


def test_what_was_written_by_hand_stays() -> None:
    changed = text_of("options.md").replace("Version of the method's options.", "By hand.")
    assert "| By hand. |" in reference.made(changed)
