"""An object key lies in its row's own project, whoever wrote the row; requests change none; trails are true.

The API's role sees its project's rows only, but what a key in them names is the object store's, which knows
no tenants. So the database holds every key to the ids beside it, and the role may change only the columns
that requests change. In the trail and in deletions the database writes the time, and a request names a key
of its project. The constraints are validated by the next migration.
"""

from __future__ import annotations

from alembic import op

from app.db.online import take_tables
from app.db.roles import Role

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UPLOAD_KEY = "'uploads/' || project_id || '/' || upload_id"
_STATES = "'states/' || project_id || '/' || id || '/'"
_KEYS = (
    ("ck_uploads_object_key", "uploads", "object_key = 'uploads/' || project_id || '/' || id"),
    ("ck_checkpoints_upload_object_key", "checkpoints", f"upload_object_key = {_UPLOAD_KEY}"),
    (
        "ck_checkpoints_canonical_prefix",
        "checkpoints",
        "starts_with(canonical_prefix, 'checkpoints/' || project_id || '/' || id || '/')",
    ),
    (
        "ck_datasets_files",
        "datasets",
        "NOT jsonb_path_exists(files, '$[*] ? (@.bucket == null && @.key != $key)',"
        f" jsonb_object(ARRAY['key', {_UPLOAD_KEY}]))",
    ),
    (
        "ck_jobs_resume_state",
        "jobs",
        f"starts_with(resume_state ->> 'prefix', {_STATES})"
        f" AND starts_with(resume_state #>> '{{previous,prefix}}', {_STATES})",
    ),
    (
        "ck_artifacts_object_key",
        "artifacts",
        "starts_with(object_key, 'outputs/' || project_id || '/' || job_id || '/')"
        " OR starts_with(object_key, 'checkpoints/' || project_id || '/')",
    ),
)

_CHANGED_BY_REQUESTS = {
    "uploads": "state, store_upload_id, declared_sha256, completed_at, checkpoint_id, deleted_at",
    "checkpoints": "state, error, inspect_job_id, deleted_at, updated_at",
    "datasets": "state, error, validate_job_id, deleted_at, updated_at",
    "jobs": "state, phase, phases, progress, attempts_used, error, version, event_seq, lease_owner,"
    " lease_expires_at, not_before, cancel_requested_at, pause_requested_at, hinted_at, finished_at,"
    " swept_at, deleted_at, updated_at",
}

_ADDED = (
    (
        "trail_entries",
        (Role.API, Role.WORKER, Role.OPERATOR),
        "id, project_id, key_id, actor, action, target_id, outcome, reason, request_id, remote_addr",
    ),
    (
        "deletions",
        (Role.API,),
        "id, project_id, subject, subject_id, reason, key_id, request_id, not_before,"
        " counted_at, num_objects, num_bytes, digests, finished_at",
    ),
    ("job_events", (Role.API, Role.WORKER), "job_id, seq, project_id, type, data"),
)
"""All columns but the time, which is the database's. A policy of 0005 keeps receipts empty."""


def _own_key(table: str) -> str:
    """The row names a key that this transaction sees.

    A deleted project has none, and requests with its keys are believed for a moment more.
    """
    is_seen = f"EXISTS (SELECT FROM api_keys k WHERE k.id = {table}.key_id)"
    return f"{table}.key_id IS NOT NULL AND ({is_seen} OR NOT EXISTS (SELECT FROM api_keys))"


_POLICIES = (
    ("by_own_key", "trail_entries", Role.API, f"actor IS NULL AND ({_own_key('trail_entries')})"),
    ("by_retention", "trail_entries", Role.WORKER, "actor = 'retention' AND key_id IS NULL"),
    ("by_own_key", "deletions", Role.API, _own_key("deletions")),
    ("unread", "datasets", Role.API, "files IS NULL"),
)
"""Beside the policies of 0002 and 0005, for rows that are added."""


def upgrade() -> None:
    _take()
    for name, table, condition in _KEYS:
        op.create_check_constraint(op.f(name), table, condition, postgresql_not_valid=True)
    for table, columns in _CHANGED_BY_REQUESTS.items():
        op.execute(f"REVOKE UPDATE ON {table} FROM {Role.API}")
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO {Role.API}")
    for table, roles, columns in _ADDED:
        op.execute(f"REVOKE INSERT ON {table} FROM {', '.join(roles)}")
        op.execute(f"GRANT INSERT ({columns}) ON {table} TO {', '.join(roles)}")
    for name, table, role, condition in _POLICIES:
        op.execute(
            f"CREATE POLICY {name} ON {table} AS RESTRICTIVE FOR INSERT TO {role} WITH CHECK ({condition})"
        )


def _take() -> None:
    take_tables(
        "deletions", "trail_entries", "artifacts", "job_events", "jobs", "datasets", "checkpoints", "uploads"
    )


def downgrade() -> None:
    _take()
    for name, table, _, _ in _POLICIES:
        op.execute(f"DROP POLICY {name} ON {table}")
    for table, roles, _ in _ADDED:  # what is revoked from the table is revoked from its columns
        op.execute(f"REVOKE INSERT ON {table} FROM {', '.join(roles)}")
        op.execute(f"GRANT INSERT ON {table} TO {', '.join(roles)}")
    for table in _CHANGED_BY_REQUESTS:
        op.execute(f"REVOKE UPDATE ON {table} FROM {Role.API}")
        op.execute(f"GRANT UPDATE ON {table} TO {Role.API}")
    for name, table, _ in reversed(_KEYS):
        op.drop_constraint(op.f(name), table, type_="check")
