"""The foreign key of 0009 holds for every row: checked beside the running service, alone."""

from __future__ import annotations

from app.db.online import validate_constraint

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    validate_constraint("fk_jobs_retrieval_dataset_id", "jobs")


def downgrade() -> None:
    """What was validated may stay so."""
