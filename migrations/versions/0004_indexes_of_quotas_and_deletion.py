"""Indexes for the fair queue and for retention, on tables that are in use: built beside the running service.

Alone in their migration, because they are built outside a transaction: repeated from the start if it is cut.
"""

from __future__ import annotations

import sqlalchemy as sa

from app.db.online import build_index, drop_index

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index(
        "ix_jobs_waiting",
        "jobs",
        ["kind", "project_id", "created_at", "id"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    build_index("ix_artifacts_created_at", "artifacts", ["created_at"])


def downgrade() -> None:
    drop_index("ix_artifacts_created_at", "artifacts")
    drop_index("ix_jobs_waiting", "jobs")
