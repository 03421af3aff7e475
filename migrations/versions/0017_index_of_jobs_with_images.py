"""Which jobs hold images is asked for with every order: by an index, built beside the running service."""

from __future__ import annotations

import sqlalchemy as sa

from app.db.online import build_index, drop_index, validate_constraint

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("open_uploads", "row_bytes"):
        validate_constraint(f"ck_project_quotas_{name}", "project_quotas")
    build_index(
        "ix_jobs_with_images",
        "jobs",
        ["project_id"],
        postgresql_where=sa.text("jsonb_path_exists(spec, '$.audit.attacks[*].picture'::jsonpath)"),
    )


def downgrade() -> None:
    drop_index("ix_jobs_with_images", "jobs")
