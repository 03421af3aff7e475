"""Sessions of browsers. A new table, which processes of before do not know."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db.roles import Role
from app.db.row_security import PRESENTED_SESSION, of_this_project, protected

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("opens_once", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_web_sessions_project_id")),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name=op.f("fk_web_sessions_key_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_web_sessions")),
    )
    op.create_index("ix_web_sessions_project_id", "web_sessions", ["project_id"])
    statements = protected(
        "web_sessions",
        api="SELECT, INSERT, DELETE",
        worker="SELECT (project_id), DELETE",  # with their project; whose they are is no worker's business
        check=of_this_project("web_sessions.key_id", "api_keys"),
    )
    # Before its project is known, a request sees the one session that it presents.
    presented = f"token_sha256 = {PRESENTED_SESSION}"
    for statement in (
        *statements,
        f"CREATE POLICY presented ON web_sessions FOR SELECT TO {Role.API} USING ({presented})",
    ):
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("web_sessions")
