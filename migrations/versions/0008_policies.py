"""Policies that a project keeps by name. A new table only: processes of before do not know it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.db.row_security import protected

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()"))


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_policies_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_policies_project_id_name")),
    )
    op.create_index("ix_policies_project_id_id", "policies", ["project_id", "id"])
    # Requests delete them at once: nothing lies in the object store that a sweep would have to take away. The
    # worker's role removes those of a deleted project.
    requests = "SELECT, INSERT, UPDATE (content, updated_at), DELETE"
    for statement in protected("policies", api=requests, worker="SELECT, DELETE"):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("policies")
