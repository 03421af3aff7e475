"""Two migrations after the last one, for a drill and a test: a change of a table that is in use.

They follow the rules of `app.db.online`: the first adds a column and a foreign key that is not yet
checked for old rows; the second, alone, checks it and builds an index.
"""

from __future__ import annotations

from pathlib import Path

from alembic.script import ScriptDirectory

from lab.drills.records import ROOT

COLUMN = '''"""A job may name a further dataset."""

import sqlalchemy as sa
from alembic import op

from app.db.online import take_tables

revision = "next_column"
down_revision = "{head}"


def upgrade() -> None:
    take_tables("jobs", "datasets")
    op.add_column("jobs", sa.Column("further_dataset_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        "fk_jobs_further_dataset_id",
        "jobs",
        "datasets",
        ["further_dataset_id"],
        ["id"],
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    take_tables("jobs", "datasets")
    op.drop_column("jobs", "further_dataset_id")
'''

INDEX = '''"""Its index, and its foreign key for every row."""

from app.db.online import build_index, drop_index, validate_constraint

revision = "next_index"
down_revision = "next_column"


def upgrade() -> None:
    validate_constraint("fk_jobs_further_dataset_id", "jobs")
    build_index("ix_jobs_further_dataset_id", "jobs", ["further_dataset_id"])


def downgrade() -> None:
    drop_index("ix_jobs_further_dataset_id", "jobs")
'''


def head() -> str:
    """The last revision of the service's own schema."""
    revision = ScriptDirectory(str(ROOT / "migrations")).get_current_head()
    assert revision is not None
    return revision


def configuration_with_next_migrations(folder: Path) -> Path:
    """The path of an alembic.ini in `folder` with the service's migrations and the two of this module."""
    versions = folder / "next_versions"
    versions.mkdir(exist_ok=True)
    (versions / "next_column.py").write_text(COLUMN.format(head=head()), encoding="utf-8")
    (versions / "next_index.py").write_text(INDEX, encoding="utf-8")
    ini = folder / "alembic.ini"
    ini.write_text(
        f"[alembic]\nscript_location = {ROOT}/migrations\nprepend_sys_path = {ROOT}\n"
        f"path_separator = newline\nversion_locations =\n    {ROOT}/migrations/versions\n    {versions}\n",
        encoding="utf-8",
    )
    return ini
