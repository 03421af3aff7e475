"""Quotas of open uploads and of bytes in the database. Two columns that may be NULL: the default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_QUOTAS = ("open_uploads", "row_bytes")


def upgrade() -> None:
    for name in _QUOTAS:
        op.add_column("project_quotas", sa.Column(name, sa.BigInteger(), nullable=True))
        op.create_check_constraint(
            op.f(f"ck_project_quotas_{name}"), "project_quotas", f"{name} >= 0", postgresql_not_valid=True
        )


def downgrade() -> None:
    for name in reversed(_QUOTAS):
        op.drop_column("project_quotas", name)
