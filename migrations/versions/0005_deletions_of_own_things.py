"""Requests may ask for the deletion of what is their project's own, and of nothing else; deletions can wait.

Foreign keys cannot say the first, because a receipt outlives what it names. Also: nobody but the worker
counts or finishes a deletion, and only operators delete a project.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db.row_security import THIS_PROJECT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = {"upload": "uploads", "checkpoint": "checkpoints", "dataset": "datasets", "job": "jobs"}


def _own() -> str:
    """The subject is a row that the API's role sees in this transaction, and so of this project."""
    found = (
        f"(subject = '{subject}' AND EXISTS (SELECT FROM {table} t"
        f" WHERE t.id = deletions.subject_id AND t.project_id = deletions.project_id))"
        for subject, table in _TABLES.items()
    )
    return f"({' OR '.join(found)})"


def upgrade() -> None:
    op.add_column("deletions", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    fresh = (
        "reason = 'requested' AND num_nonnulls(counted_at, num_objects, num_bytes, digests, finished_at) = 0"
    )
    op.execute(
        f"ALTER POLICY tenant ON deletions WITH CHECK (project_id = {THIS_PROJECT} AND {fresh} AND {_own()})"
    )


def downgrade() -> None:
    op.execute(f"ALTER POLICY tenant ON deletions WITH CHECK (project_id = {THIS_PROJECT})")
    op.drop_column("deletions", "not_before")
