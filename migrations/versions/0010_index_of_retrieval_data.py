"""Who reads a data set is asked for before it is deleted: by an index, built beside the running service."""

from __future__ import annotations

from app.db.online import build_index, drop_index

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_jobs_retrieval_dataset_id", "jobs", ["retrieval_dataset_id"])


def downgrade() -> None:
    drop_index("ix_jobs_retrieval_dataset_id", "jobs")
