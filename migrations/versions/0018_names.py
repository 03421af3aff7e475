"""Names that people give datasets and jobs, and keys again. Two columns that may be NULL: none was given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db.roles import Role

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("name", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("name", sa.Text(), nullable=True))
    for table in ("datasets", "jobs", "api_keys"):
        op.execute(f"GRANT UPDATE (name) ON {table} TO {Role.API}")


def downgrade() -> None:
    op.execute(f"REVOKE UPDATE (name) ON api_keys FROM {Role.API}")
    op.drop_column("jobs", "name")
    op.drop_column("datasets", "name")
