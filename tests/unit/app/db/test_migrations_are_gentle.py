"""Every migration keeps the rules of app/db/online.py: none works while it holds a table in use."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.drills import online_change

VERSIONS = Path(__file__).resolve().parents[4] / "migrations" / "versions"
FIRST = "0001"
"""It makes every table, so none is in use."""
_CONSTRAINTS = {"create_check_constraint", "create_foreign_key"}
_NEVER_ON_EXISTING = {"create_index", "create_unique_constraint", "create_primary_key", "alter_column"}
_ALONE = {"build_index", "validate_constraint"}
_OTHER_WORK = {"create_table", "add_column", "execute", *_CONSTRAINTS}
_OWN_TIMEOUTS = ("lock_timeout", "statement_timeout")


def violations(source: str) -> Iterator[str]:
    """What a migration does to tables that it did not make."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = {_text(call, 0, "table_name") for call in calls if _name(call) == "create_table"}
    for call in calls:
        name = _name(call)
        table = _text(call, 0 if name == "alter_column" else 1, "table_name")
        if name in _NEVER_ON_EXISTING and table not in made:
            yield f"line {call.lineno}: {name} on {table}"
        is_checked_now = not any(keyword.arg == "postgresql_not_valid" for keyword in call.keywords)
        if name in _CONSTRAINTS and is_checked_now and _text(call, 1, "source_table") not in made:
            yield f"line {call.lineno}: {name} on {table}, not NOT VALID"
        if name in _ALONE and any(_name(other) in _OTHER_WORK for other in calls):
            yield f"line {call.lineno}: {name} is not alone in its migration"
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = node.value.upper()
            if "CREATE INDEX" in said or "CREATE UNIQUE INDEX" in said or "VALIDATE CONSTRAINT" in said:
                yield f"line {node.lineno}: SQL instead of build_index, or a validation beside other work"
            if any(word in node.value for word in _OWN_TIMEOUTS):
                yield f"line {node.lineno}: a timeout of its own"


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(call: ast.Call, position: int, keyword: str) -> str | None:
    given = [item.value for item in call.keywords if item.arg == keyword] or list(call.args[position:])[:1]
    return given[0].value if given and isinstance(given[0], ast.Constant) else None


def test_every_migration_is_gentle() -> None:
    files = sorted(VERSIONS.glob("*.py"))
    assert files[0].name.startswith(FIRST)
    for path in files[1:]:
        assert not list(violations(path.read_text(encoding="utf-8"))), path.name


@pytest.mark.parametrize("source", [online_change.COLUMN, online_change.INDEX])
def test_the_change_that_the_drill_measures_is_gentle(source: str) -> None:
    assert not list(violations(source))


@pytest.mark.parametrize(
    "statement",
    [
        'op.create_index("ix_jobs_a", "jobs", ["a"])',
        'op.create_index("ix_jobs_a", table_name="jobs", columns=["a"])',
        'op.create_unique_constraint("uq", "jobs", ["a"])',
        'op.alter_column("jobs", "a", nullable=False)',
        'op.create_foreign_key("fk", "jobs", "projects", ["a"], ["id"])',
        'op.create_check_constraint("ck", "jobs", "a > 0")',
        'op.execute("create index ix_jobs_a on jobs (a)")',
        'op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck")',
        "op.execute(\"SET lock_timeout = '1h'\")",
        'op.add_column("jobs", c); build_index("ix_jobs_a", "jobs", ["a"])',
        'op.create_check_constraint("ck", "jobs", "a > 0", postgresql_not_valid=True);'
        ' validate_constraint("ck", "jobs")',
    ],
)
def test_a_migration_that_locks_is_noticed(statement: str) -> None:
    assert list(violations(f"def upgrade():\n    {statement}\n"))


@pytest.mark.parametrize(
    "statement",
    [
        'op.create_table("deletions", c); op.create_index("ix", "deletions", ["a"])',
        'op.add_column("jobs", c)',
        'op.create_check_constraint("ck", "jobs", "a > 0", postgresql_not_valid=True)',
        'build_index("ix_jobs_a", "jobs", ["a"])',
        'validate_constraint("ck", "jobs")',
    ],
)
def test_a_gentle_migration_passes(statement: str) -> None:
    assert not list(violations(f"def upgrade():\n    {statement}\n"))
