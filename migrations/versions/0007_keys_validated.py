"""The constraints on object keys hold for older rows, too: checked beside the running service.

Alone in their migration, because nothing else may be locked while a whole table is read.
"""

from __future__ import annotations

from app.db.online import validate_constraint

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    validate_constraint("ck_uploads_object_key", "uploads")
    validate_constraint("ck_checkpoints_upload_object_key", "checkpoints")
    validate_constraint("ck_checkpoints_canonical_prefix", "checkpoints")
    validate_constraint("ck_datasets_files", "datasets")
    validate_constraint("ck_jobs_resume_state", "jobs")
    validate_constraint("ck_artifacts_object_key", "artifacts")


def downgrade() -> None:
    """What was validated may stay so."""
