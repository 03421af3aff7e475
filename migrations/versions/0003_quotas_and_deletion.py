"""Quotas of projects, turns of the fair queue, deletions with their receipts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.db.roles import Role
from app.db.row_security import protected

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SUBJECTS = ("upload", "checkpoint", "dataset", "job", "job_outputs", "project")
_REASONS = ("requested", "retention", "operator")


def _time(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def _project_id() -> sa.Column[str]:
    return sa.Column("project_id", sa.Text(), nullable=False)


def _of_project(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id"))


def _word(name: str, words: tuple[str, ...]) -> sa.Column[str]:
    kind = sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(name, kind, nullable=False)


def _create_quotas_and_turns() -> None:
    limits = ("running_jobs", "waiting_jobs", "stored_bytes", "bytes_in_flight", "requests_per_minute")
    op.create_table(
        "project_quotas",
        _project_id(),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in limits),
        _time("updated_at", nullable=False, now=True),
        sa.CheckConstraint(f"least({', '.join(limits)}) >= 0", name=op.f("ck_project_quotas_not_negative")),
        _of_project("project_quotas"),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_quotas")),
    )
    op.create_table(
        "queue_turns",
        _project_id(),
        sa.Column("queue", sa.Text(), nullable=False),
        _time("served_at", nullable=False),
        _of_project("queue_turns"),
        sa.PrimaryKeyConstraint("project_id", "queue", name=op.f("pk_queue_turns")),
    )


def _create_deletions() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", sa.Text(), nullable=False),
        _project_id(),
        _word("subject", _SUBJECTS),
        sa.Column("subject_id", sa.Text(), nullable=False),
        _word("reason", _REASONS),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        _time("requested_at", nullable=False, now=True),
        _time("counted_at"),
        sa.Column("num_objects", sa.BigInteger(), nullable=True),
        sa.Column("num_bytes", sa.BigInteger(), nullable=True),
        sa.Column("digests", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        _time("finished_at"),
        _of_project("deletions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index("ix_deletions_project_id_id", "deletions", ["project_id", "id"])
    op.create_index("ix_deletions_subject_id", "deletions", ["subject_id"])
    op.create_index(
        "ix_deletions_unfinished", "deletions", ["id"], postgresql_where=sa.text("finished_at IS NULL")
    )


def _protections() -> list[str]:
    """The API marks, the worker's role deletes; the operator's may do both."""
    remove = f"TO {Role.WORKER}"
    return [
        *protected("project_quotas", api="SELECT", worker="SELECT"),
        *protected("queue_turns", api=None, worker="SELECT, INSERT, UPDATE, DELETE"),
        *protected("deletions", api="SELECT, INSERT", worker="SELECT, INSERT, UPDATE"),
        f"GRANT DELETE ON uploads {remove}",
        f"GRANT DELETE ON checkpoints {remove}",
        f"GRANT DELETE ON datasets {remove}",
        f"GRANT DELETE ON jobs {remove}",
        f"GRANT DELETE ON job_events {remove}",
        f"GRANT DELETE ON artifacts {remove}",
    ]


def upgrade() -> None:
    _create_quotas_and_turns()
    _create_deletions()
    for statement in _protections():
        op.execute(statement)
    op.add_column("jobs", _time("deleted_at"))
    op.add_column("uploads", _time("deleted_at"))


def downgrade() -> None:
    for table in ("uploads", "checkpoints", "datasets", "jobs", "job_events", "artifacts"):
        op.execute(f"REVOKE DELETE ON {table} FROM {Role.WORKER}")
    op.drop_column("uploads", "deleted_at")
    op.drop_column("jobs", "deleted_at")
    for table in ("deletions", "queue_turns", "project_quotas"):
        op.drop_table(table)
