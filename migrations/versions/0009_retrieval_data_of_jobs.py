"""A job may name a second data set that it measures on: pairs, for retrieval.

Old processes neither read nor write the column, and rows of theirs have none. The foreign key is validated
by 0011; the index is built by 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db.online import take_tables
from app.db.row_security import THIS_PROJECT, of_this_project

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BEFORE = (("checkpoint_id", "checkpoints"), ("dataset_id", "datasets"), ("labelled_dataset_id", "datasets"))
_NOW = (*_BEFORE, ("retrieval_dataset_id", "datasets"))


def _refer_to(references: tuple[tuple[str, str], ...]) -> None:
    """Jobs that requests add name what is their project's, in each of these columns."""
    own = " AND ".join(of_this_project(f"jobs.{column}", table) for column, table in references)
    op.execute(f"ALTER POLICY tenant ON jobs WITH CHECK (project_id = {THIS_PROJECT} AND {own})")


def upgrade() -> None:
    take_tables("jobs", "datasets")
    op.add_column("jobs", sa.Column("retrieval_dataset_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_jobs_retrieval_dataset_id"),
        "jobs",
        "datasets",
        ["retrieval_dataset_id"],
        ["id"],
        postgresql_not_valid=True,
    )
    _refer_to(_NOW)


def downgrade() -> None:
    take_tables("jobs", "datasets")
    _refer_to(_BEFORE)
    op.drop_column("jobs", "retrieval_dataset_id")
