"""Tenants are kept apart by the database too: roles, forced row-level security, least privileges.

Also: lines of keys that replace each other, and who did what where no key did it, or was refused.
The roles belong to the server and outlive this database: they are made if missing and never dropped.
"""

from __future__ import annotations

from contextlib import suppress

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.db.online import take_tables
from app.db.roles import Role, roles_sql
from app.db.row_security import PRESENTED_KEY, of_this_project, protected, unprotected

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "projects",
    "api_keys",
    "uploads",
    "checkpoints",
    "datasets",
    "jobs",
    "job_events",
    "outbox",
    "artifacts",
    "idempotency_keys",
    "trail_entries",
)


def upgrade() -> None:
    _ensure_roles()
    take_tables(*reversed(TABLES))
    _add_columns()
    for statement in (*_protections(), *_recognition(), *_counting()):
        op.execute(statement)


def _ensure_roles() -> None:
    if context.is_offline_mode():
        op.execute(roles_sql("CURRENT_USER").replace('"CURRENT_USER"', "CURRENT_USER"))
        return
    bind = op.get_bind()
    login = str(bind.scalar(sa.text("SELECT current_user")))
    for role in Role:
        if not bind.scalar(sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}):
            with suppress(DBAPIError), bind.begin_nested():  # somebody else may make it at this moment
                bind.execute(sa.text(f"CREATE ROLE {role} NOLOGIN"))
        if not _can_become(bind, role):
            with suppress(DBAPIError), bind.begin_nested():
                bind.execute(sa.text(f"GRANT {role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE"))
        if not _can_become(bind, role):
            raise CommandError(
                f"The login '{login}' may not make the roles that the service runs as, or not take them on."
                f" Let an administrator of the server run this once, then migrate again:\n{roles_sql(login)}"
            )


def _can_become(bind: sa.Connection, role: Role) -> bool:
    query = "SELECT coalesce((SELECT pg_has_role(oid, 'SET') FROM pg_roles WHERE rolname = :role), false)"
    return bool(bind.scalar(sa.text(query), {"role": role}))


def _add_columns() -> None:
    op.add_column("api_keys", sa.Column("lineage_id", sa.Text(), nullable=True))
    op.execute("UPDATE api_keys SET lineage_id = id")
    op.alter_column("api_keys", "lineage_id", nullable=False)
    outcome = sa.Enum("done", "refused", name="outcome", native_enum=False, length=32)
    op.add_column("trail_entries", sa.Column("outcome", outcome, server_default="done", nullable=False))
    op.create_check_constraint("outcome", "trail_entries", "outcome IN ('done', 'refused')")
    op.add_column("trail_entries", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("trail_entries", sa.Column("actor", sa.Text(), nullable=True))


def _protections() -> list[str]:
    write = "SELECT, INSERT, UPDATE"
    append = "SELECT, INSERT"
    jobs = " AND ".join(
        of_this_project(f"jobs.{column}", table)
        for column, table in (
            ("checkpoint_id", "checkpoints"),
            ("dataset_id", "datasets"),
            ("labelled_dataset_id", "datasets"),
        )
    )
    checkpoints = of_this_project("checkpoints.upload_id", "uploads")
    datasets = of_this_project("datasets.upload_id", "uploads")
    events = of_this_project("job_events.job_id", "jobs")
    keys = "SELECT, INSERT, UPDATE (last_used_at, expires_at, revoked_at)"
    return [
        *protected("projects", api="SELECT", worker="SELECT", project_column="id"),
        *protected("api_keys", api=keys, worker=None),
        *protected("uploads", api=write, worker="SELECT, UPDATE"),
        *protected("checkpoints", api=write, worker="SELECT, UPDATE", check=checkpoints),
        *protected("datasets", api=write, worker="SELECT, UPDATE", check=datasets),
        *protected("jobs", api=write, worker="SELECT, UPDATE", check=jobs),
        *protected("job_events", api=append, worker=append, check=events),
        *protected("outbox", api=append, worker="SELECT, INSERT, UPDATE, DELETE"),
        *protected("artifacts", api="SELECT", worker=append),
        *protected("idempotency_keys", api="SELECT, INSERT, UPDATE, DELETE", worker="SELECT, DELETE"),
        *protected("trail_entries", api=append, worker=append, operator=append),
        f"GRANT SELECT ON alembic_version TO {Role.OPERATOR}",
        f"GRANT SELECT ON SEQUENCE outbox_id_seq TO {Role.OPERATOR}",
        f"GRANT USAGE ON SCHEMA public TO {', '.join(Role)}",
    ]


def _recognition() -> list[str]:
    """Before its project is known, a request sees the one key that it presents."""
    presented = f"secret_sha256 = {PRESENTED_KEY}"
    return [
        f"CREATE POLICY presented ON api_keys FOR SELECT TO {Role.API} USING ({presented})",
        f"CREATE POLICY presented_used ON api_keys FOR UPDATE TO {Role.API} USING ({presented})",
    ]


def _counting() -> list[str]:
    """Metrics count the jobs of all projects: by a function that returns the counts and no row."""
    return [
        "CREATE FUNCTION public.cleanclip_job_counts() RETURNS TABLE (kind text, state text, num bigint)"
        " LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        " AS 'SELECT kind, state, count(*) FROM public.jobs GROUP BY 1, 2'",
        "REVOKE ALL ON FUNCTION public.cleanclip_job_counts() FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION public.cleanclip_job_counts() TO {', '.join(Role)}",
        f"GRANT CREATE ON SCHEMA public TO {Role.OPERATOR}",  # as long as it takes to become the owner
        f"ALTER FUNCTION public.cleanclip_job_counts() OWNER TO {Role.OPERATOR}",
        f"REVOKE CREATE ON SCHEMA public FROM {Role.OPERATOR}",
    ]


def downgrade() -> None:
    take_tables(*reversed(TABLES))
    op.execute("DROP FUNCTION public.cleanclip_job_counts()")
    op.execute("DROP POLICY presented ON api_keys")
    op.execute("DROP POLICY presented_used ON api_keys")
    for table in TABLES:
        for statement in unprotected(table):
            op.execute(statement)
    op.execute(f"REVOKE ALL ON alembic_version FROM {Role.OPERATOR}")
    op.execute(f"REVOKE ALL ON SEQUENCE outbox_id_seq FROM {Role.OPERATOR}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {', '.join(Role)}")
    for column in ("actor", "reason", "outcome"):
        op.drop_column("trail_entries", column)
    op.drop_column("api_keys", "lineage_id")
