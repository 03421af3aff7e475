"""The first schema: its tables, and what keeps tenants apart: roles, row-level security, grants.

The roles belong to the server and outlive this database: they are made if missing and never dropped.
"""

from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from app.db.roles import Role, roles_sql
from app.db.row_security import PRESENTED_KEY, PRESENTED_SESSION, of_this_project, protected, shared

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UPLOAD_KEY = "'uploads/' || project_id || '/' || upload_id"
_STATES = "'states/' || project_id || '/' || id || '/'"
_BADNESS = (
    "CASE outcome WHEN 'fail' THEN 4 WHEN 'controlled' THEN 3 WHEN 'undecided' THEN 2"
    " WHEN 'inconclusive' THEN 1 ELSE 0 END"
)
_TABLES = (
    *("projects", "api_keys", "web_sessions", "project_quotas", "trail_entries"),
    *(
        "idempotency_keys",
        "outbox",
        "uploads",
        "checkpoints",
        "datasets",
        "jobs",
        "job_events",
        "artifacts",
        "verdicts",
    ),
    *("policies", "queue_turns", "deletions", "webhooks", "webhook_deliveries", "null_sets"),
)


def upgrade() -> None:
    _ensure_roles()
    _create_accounts()
    _create_trail()
    _create_uploads()
    _create_datasets()
    _create_jobs()
    _create_results()
    _create_policies()
    _create_webhooks()
    _create_nulls()
    for statement in (*_protections(), *_protections_of_requests(), *_counting()):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION public.cleanclip_job_counts()")
    op.execute(f"DROP TABLE {', '.join(reversed(_TABLES))}")
    op.execute(f"REVOKE ALL ON alembic_version FROM {Role.OPERATOR}")
    op.execute(f"REVOKE USAGE ON SCHEMA public FROM {', '.join(Role)}")


def _texts(names: str, *, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names.split()]


def _numbers(names: str, *, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names.split()]


def _times(names: str, *, nullable: bool = False, default: str | None = None) -> list[sa.Column[Any]]:
    server_default = None if default is None else sa.text(default)
    kind = sa.DateTime(timezone=True)
    return [sa.Column(name, kind, nullable=nullable, server_default=server_default) for name in names.split()]


def _json(names: str, *, nullable: bool = False) -> list[sa.Column[Any]]:
    kind = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    return [sa.Column(name, kind, nullable=nullable) for name in names.split()]


def _word(name: str, words: str, *, nullable: bool = False, default: str | None = None) -> sa.Column[str]:
    """One of `words`, which the database checks; adding a word is a change of a constraint, not of a type."""
    kind = sa.Enum(*words.split(), name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(name, kind, nullable=nullable, server_default=default)


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(name))


def _reference(
    table: str, column: str, referred: str, *, ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], [f"{referred}.id"], name=name, ondelete=ondelete)


def _create(table: str, *items: Any, key: str = "id") -> None:
    """A table with its primary key. Every table but two belongs to a project."""
    of_project = [] if table in {"projects", "null_sets"} else [_reference(table, "project_id", "projects")]
    op.create_table(
        table, *items, *of_project, sa.PrimaryKeyConstraint(*key.split(), name=op.f(f"pk_{table}"))
    )


def _index(name: str, table: str, columns: str, *, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns.split(), postgresql_where=condition)


def _create_accounts() -> None:
    _create(
        "projects",
        *_texts("id name"),
        *_times("created_at", default="now()"),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    _create(
        "api_keys",
        *_texts("id project_id name prefix secret_sha256"),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        *_times("created_at", default="now()"),
        *_times("expires_at revoked_at last_used_at", nullable=True),
        *_texts("lineage_id"),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    _index("ix_api_keys_project_id", "api_keys", "project_id")
    _create(
        "web_sessions",
        *_texts("token_sha256 project_id key_id key_sha256"),
        sa.Column("opens_once", sa.Boolean(), nullable=False),
        *_times("created_at", default="now()"),
        *_times("expires_at"),
        _reference("web_sessions", "key_id", "api_keys", ondelete="CASCADE"),
        key="token_sha256",
    )
    _index("ix_web_sessions_project_id", "web_sessions", "project_id")
    _create(
        "project_quotas",
        *_texts("project_id"),
        *_numbers(
            "running_jobs waiting_jobs stored_bytes bytes_in_flight requests_per_minute", nullable=True
        ),
        *_times("updated_at", default="now()"),
        *_numbers("open_uploads row_bytes", nullable=True),
        _check("ck_project_quotas_row_bytes", "row_bytes >= 0"),
        _check(
            "ck_project_quotas_not_negative",
            "least(running_jobs, waiting_jobs, stored_bytes, bytes_in_flight, requests_per_minute) >= 0",
        ),
        _check("ck_project_quotas_open_uploads", "open_uploads >= 0"),
        key="project_id",
    )


def _create_trail() -> None:
    _create(
        "trail_entries",
        *_texts("id project_id"),
        *_texts("key_id", nullable=True),
        *_texts("action"),
        *_texts("target_id request_id remote_addr", nullable=True),
        *_times("created_at", default="now()"),
        _word("outcome", "done refused", default="done"),
        *_texts("reason actor", nullable=True),
    )
    _index("ix_trail_entries_project_id_id", "trail_entries", "project_id id")
    _create(
        "idempotency_keys",
        *_texts("project_id key method path request_sha256"),
        _word("state", "in_flight done"),
        *_numbers("response_status", nullable=True),
        *_json("response_body response_headers", nullable=True),
        *_times("created_at", default="now()"),
        *_times("expires_at"),
        key="project_id key",
    )
    _index("ix_idempotency_keys_expires_at", "idempotency_keys", "expires_at")
    _create(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_texts("project_id topic"),
        *_json("payload"),
        *_times("created_at", default="now()"),
        *_times("published_at", nullable=True),
        *_numbers("num_tries"),
    )
    _index("ix_outbox_unpublished", "outbox", "id", where="published_at IS NULL")


def _create_uploads() -> None:
    _create(
        "uploads",
        *_texts("id project_id"),
        _word("purpose", "checkpoint dataset"),
        *_texts("filename"),
        *_numbers("size_bytes"),
        *_texts("declared_sha256", nullable=True),
        *_json("declared"),
        *_numbers("part_size_bytes num_parts"),
        *_texts("object_key"),
        *_texts("store_upload_id", nullable=True),
        _word("state", "open completing completed cancelled expired"),
        *_texts("checkpoint_id", nullable=True),
        *_times("expires_at"),
        *_times("created_at", default="now()"),
        *_times("completed_at deleted_at", nullable=True),
        _check("ck_uploads_object_key", "object_key = 'uploads/' || project_id || '/' || id"),
    )
    _index(
        "ix_uploads_abandoned",
        "uploads",
        "id",
        where="state IN ('cancelled', 'expired') AND store_upload_id IS NOT NULL",
    )
    _index("ix_uploads_project_id_id", "uploads", "project_id id")
    _index("ix_uploads_unfinished", "uploads", "expires_at", where="state IN ('open', 'completing')")
    _create(
        "checkpoints",
        *_texts("id project_id upload_id filename"),
        *_numbers("size_bytes"),
        *_texts("sha256", nullable=True),
        _word("state", "quarantined scanning accepted rejected"),
        *_json("declared"),
        *_texts("upload_object_key canonical_prefix weights_sha256", nullable=True),
        *_json("source inspection error", nullable=True),
        *_texts("inspect_job_id", nullable=True),
        *_times("deleted_at", nullable=True),
        *_times("created_at updated_at", default="now()"),
        sa.UniqueConstraint("upload_id", name=op.f("uq_checkpoints_upload_id")),
        _reference("checkpoints", "upload_id", "uploads"),
        _check("ck_checkpoints_upload_object_key", f"upload_object_key = {_UPLOAD_KEY}"),
        _check(
            "ck_checkpoints_canonical_prefix",
            "starts_with(canonical_prefix, 'checkpoints/' || project_id || '/' || id || '/')",
        ),
    )
    _index("ix_checkpoints_project_id_id", "checkpoints", "project_id id")
    _index(
        "ix_checkpoints_with_needless_objects",
        "checkpoints",
        "updated_at",
        where="(state = 'rejected' AND upload_object_key IS NOT NULL) OR (deleted_at IS NOT NULL"
        " AND (upload_object_key IS NOT NULL OR canonical_prefix IS NOT NULL))",
    )


def _create_datasets() -> None:
    _create(
        "datasets",
        *_texts("id project_id"),
        _word("kind", "pairs labelled"),
        *_texts("name uri upload_id", nullable=True),
        *_json("class_names templates", nullable=True),
        sa.Column("max_skipped_share", sa.Double(), nullable=False),
        _word("state", "validating ready rejected"),
        *_json("files summary error", nullable=True),
        *_texts("validate_job_id", nullable=True),
        *_times("deleted_at", nullable=True),
        *_times("created_at updated_at", default="now()"),
        _check(
            "ck_datasets_files",
            f"NOT jsonb_path_exists(files, '$[*] ? (@.bucket == null && @.key != $key)',"
            f" jsonb_object(ARRAY['key', {_UPLOAD_KEY}]))",
        ),
        _reference("datasets", "upload_id", "uploads"),
    )
    _index("ix_datasets_project_id_id", "datasets", "project_id id")


def _create_jobs() -> None:
    _create(
        "jobs",
        *_texts("id project_id"),
        *_texts("name", nullable=True),
        _word("kind", "inspect validate sanitize audit scan text_scan vet"),
        _word("state", "queued running cancelling paused succeeded failed cancelled"),
        _word(
            "phase",
            "stage inspect validate baseline_audit finetune final_audit rebound scan text_scan vet publish",
            nullable=True,
        ),
        *_json("phases progress"),
        *_texts("checkpoint_id dataset_id labelled_dataset_id", nullable=True),
        *_json("spec"),
        *_numbers("seed"),
        *_json("metadata"),
        *_numbers("attempt attempts_used attempts_lost max_attempts"),
        *_texts("lease_owner", nullable=True),
        *_times(
            "lease_expires_at not_before cancel_requested_at pause_requested_at hinted_at", nullable=True
        ),
        *_json("resume_state result error", nullable=True),
        *_numbers("version event_seq"),
        *_times("created_at", default="now()"),
        *_times("started_at finished_at", nullable=True),
        *_times("updated_at", default="now()"),
        *_times("swept_at deleted_at", nullable=True),
        *_texts("retrieval_dataset_id trusted_dataset_id anchor_checkpoint_id", nullable=True),
        _check("ck_jobs_max_attempts", "max_attempts >= 1"),
        _check("ck_jobs_attempts_used", "attempts_used >= 0 AND attempts_used <= attempt"),
        _check(
            "ck_jobs_resume_state",
            f"starts_with(resume_state ->> 'prefix', {_STATES})"
            f" AND starts_with(resume_state #>> '{{previous,prefix}}', {_STATES})",
        ),
        _reference("jobs", "labelled_dataset_id", "datasets"),
        _reference("jobs", "checkpoint_id", "checkpoints"),
        _reference("jobs", "dataset_id", "datasets"),
        _reference("jobs", "retrieval_dataset_id", "datasets"),
        _reference("jobs", "trusted_dataset_id", "datasets"),
        _reference("jobs", "anchor_checkpoint_id", "checkpoints"),
    )
    _index("ix_jobs_anchor_checkpoint_id", "jobs", "anchor_checkpoint_id")
    _index("ix_jobs_checkpoint_id", "jobs", "checkpoint_id")
    _index("ix_jobs_dataset_id", "jobs", "dataset_id")
    _index("ix_jobs_labelled_dataset_id", "jobs", "labelled_dataset_id")
    _index("ix_jobs_leased", "jobs", "lease_expires_at", where="state IN ('running', 'cancelling')")
    _index("ix_jobs_project_id_id", "jobs", "project_id id")
    _index("ix_jobs_queued", "jobs", "hinted_at", where="state = 'queued'")
    _index("ix_jobs_retrieval_dataset_id", "jobs", "retrieval_dataset_id")
    _index("ix_jobs_trusted_dataset_id", "jobs", "trusted_dataset_id")
    _index(
        "ix_jobs_unswept",
        "jobs",
        "finished_at",
        where="state IN ('succeeded', 'failed', 'cancelled') AND swept_at IS NULL",
    )
    _index("ix_jobs_waiting", "jobs", "kind project_id created_at id", where="state = 'queued'")
    _index(
        "ix_jobs_with_images",
        "jobs",
        "project_id",
        where="jsonb_path_exists(spec, '$.*.*[*].image'::jsonpath)",
    )


def _create_results() -> None:
    _create(
        "job_events",
        *_texts("job_id"),
        *_numbers("seq"),
        *_texts("project_id type"),
        *_json("data"),
        *_times("created_at", default="clock_timestamp()"),
        _reference("job_events", "job_id", "jobs", ondelete="CASCADE"),
        key="job_id seq",
    )
    _create(
        "artifacts",
        *_texts("id project_id job_id"),
        *_numbers("attempt"),
        *_texts("name object_key"),
        *_numbers("size_bytes"),
        *_texts("sha256 media_type"),
        *_times("created_at", default="now()"),
        sa.UniqueConstraint("job_id", "name", name=op.f("uq_artifacts_job_id_name")),
        _check(
            "ck_artifacts_object_key",
            "starts_with(object_key, 'outputs/' || project_id || '/' || job_id || '/')"
            " OR starts_with(object_key, 'checkpoints/' || project_id || '/')",
        ),
        _reference("artifacts", "job_id", "jobs"),
    )
    _index("ix_artifacts_created_at", "artifacts", "created_at")
    _index("ix_artifacts_project_id", "artifacts", "project_id")
    _create(
        "verdicts",
        *_texts("job_id"),
        _word("stage", "audit before_cleaning after_cleaning scan"),
        *_texts("project_id weights_sha256"),
        _word("outcome", "fail controlled undecided inconclusive pass"),
        sa.Column("badness", sa.BigInteger(), sa.Computed(_BADNESS, persisted=True), nullable=False),
        *_numbers("num_triggers"),
        *_times("created_at", default="now()"),
        _reference("verdicts", "job_id", "jobs"),
        key="job_id stage",
    )
    _index("ix_verdicts_worst_first", "verdicts", "project_id weights_sha256 badness job_id stage")


def _create_policies() -> None:
    _create(
        "policies",
        *_texts("id project_id name"),
        *_json("content"),
        *_times("created_at updated_at", default="now()"),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_policies_project_id_name")),
    )
    _index("ix_policies_project_id_id", "policies", "project_id id")
    _create(
        "queue_turns",
        *_texts("project_id queue"),
        *_times("served_at"),
        key="project_id queue",
    )
    _create(
        "deletions",
        *_texts("id project_id"),
        _word("subject", "upload checkpoint dataset job job_outputs project"),
        *_texts("subject_id"),
        _word("reason", "requested retention operator"),
        *_texts("key_id request_id", nullable=True),
        *_times("requested_at", default="now()"),
        *_times("counted_at", nullable=True),
        *_numbers("num_objects num_bytes", nullable=True),
        *_json("digests", nullable=True),
        *_times("finished_at not_before", nullable=True),
    )
    _index("ix_deletions_project_id_id", "deletions", "project_id id")
    _index("ix_deletions_subject_id", "deletions", "subject_id")
    _index("ix_deletions_unfinished", "deletions", "id", where="finished_at IS NULL")


def _create_webhooks() -> None:
    _create(
        "webhooks",
        *_texts("id project_id url"),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        _word("state", "enabled disabled"),
        _word("disabled_reason", "requested gone failing", nullable=True),
        *_texts("sealed_secret"),
        *_texts("sealed_previous_secret", nullable=True),
        *_times("previous_ends_at failing_since busy_until", nullable=True),
        *_times("created_at updated_at", default="now()"),
    )
    _index("ix_webhooks_project_id_id", "webhooks", "project_id id")
    _create(
        "webhook_deliveries",
        *_texts("id project_id webhook_id message_id"),
        _word(
            "event",
            "job.succeeded job.failed job.cancelled checkpoint.accepted"
            " checkpoint.rejected dataset.ready dataset.rejected webhook.test",
        ),
        *_texts("subject_id"),
        *_json("data"),
        _word("state", "pending delivered failed"),
        *_numbers("attempt num_tries"),
        *_times("due_at", default="now()"),
        *_times("tried_at", nullable=True),
        *_numbers("status", nullable=True),
        _word(
            "error",
            "url_refused no_public_address no_connection tls_failed timed_out bad_answer"
            " redirected refused secret_unreadable interrupted",
            nullable=True,
        ),
        *_texts("excerpt", nullable=True),
        *_numbers("took_ms", nullable=True),
        *_times("created_at", default="now()"),
        _reference("webhook_deliveries", "webhook_id", "webhooks"),
    )
    _index(
        "ix_webhook_deliveries_pending", "webhook_deliveries", "webhook_id due_at", where="state = 'pending'"
    )
    _index("ix_webhook_deliveries_subject_id", "webhook_deliveries", "subject_id")
    _index("ix_webhook_deliveries_webhook_id_id", "webhook_deliveries", "webhook_id id")


def _create_nulls() -> None:
    _create(
        "null_sets",
        *_texts("id name sha256"),
        *_numbers("size_bytes"),
        *_texts("object_key"),
        *_numbers("num_models"),
        *_json("facts"),
        *_texts("added_by"),
        *_texts("signing_key_sha256", nullable=True),
        *_times("created_at", default="now()"),
        sa.UniqueConstraint("name", name=op.f("uq_null_sets_name")),
        _check("ck_null_sets_object_key", "object_key = 'nulls/' || id || '.json'"),
    )


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


_TRAIL = (
    "SELECT, INSERT"
    " (id, project_id, key_id, actor, action, target_id, outcome, reason, request_id, remote_addr)"
)
_EVENTS = "SELECT, INSERT (job_id, seq, project_id, type, data)"
"""Where INSERT names columns, the time is missing: the database writes it."""


def _protections() -> list[str]:
    """Which role sees and changes what. Requests change only the columns that they must; where a row names an
    object key, the constraints of its table hold the key to the ids beside it."""
    everything = "SELECT, INSERT, UPDATE, DELETE"
    served = "SELECT, UPDATE, DELETE"
    uploads = "state, store_upload_id, declared_sha256, completed_at, checkpoint_id, deleted_at"
    checkpoints = "state, error, inspect_job_id, deleted_at, updated_at"
    datasets = "name, state, error, validate_job_id, deleted_at, updated_at"
    jobs = (
        "name, state, phase, phases, progress, attempts_used, attempts_lost, error, version, event_seq, "
        "lease_owner, lease_expires_at, not_before, cancel_requested_at, pause_requested_at, hinted_at, "
        "finished_at, swept_at, deleted_at, updated_at"
    )
    keys = "SELECT, INSERT, UPDATE (name, last_used_at, expires_at, revoked_at)"
    return [
        *protected("projects", api="SELECT", worker="SELECT", project_column="id"),
        *protected("api_keys", api=keys, worker=None),
        *protected("uploads", api=f"SELECT, INSERT, UPDATE ({uploads})", worker=served),
        *protected(
            "checkpoints",
            api=f"SELECT, INSERT, UPDATE ({checkpoints})",
            worker=served,
            check=of_this_project("checkpoints.upload_id", "uploads"),
        ),
        *protected(
            "datasets",
            api=f"SELECT, INSERT, UPDATE ({datasets})",
            worker=served,
            check=of_this_project("datasets.upload_id", "uploads"),
        ),
        *protected("jobs", api=f"SELECT, INSERT, UPDATE ({jobs})", worker=served, check=_own_inputs()),
        *protected(
            "job_events",
            api=_EVENTS,
            worker=f"{_EVENTS}, DELETE",
            check=of_this_project("job_events.job_id", "jobs"),
        ),
        *protected("outbox", api="SELECT, INSERT", worker=everything),
        *protected("artifacts", api="SELECT", worker="SELECT, INSERT, DELETE"),
        *protected("idempotency_keys", api=everything, worker="SELECT, DELETE"),
        *protected("trail_entries", api=_TRAIL, worker=_TRAIL, operator=_TRAIL),
        *protected("project_quotas", api="SELECT", worker="SELECT"),
        *protected("queue_turns", api=None, worker=everything),
        *protected("deletions", api=_DELETIONS, worker="SELECT, INSERT, UPDATE", check=_own_and_new()),
        # A request deletes a policy at once: nothing lies in the object store that a sweep would have to take
        # away. The worker's role removes those of a deleted project.
        *protected(
            "policies",
            api="SELECT, INSERT, UPDATE (content, updated_at), DELETE",
            worker="SELECT, DELETE",
        ),
        *_protections_of_webhooks(),
        # A worker deletes sessions with their project, and does not see whose they are.
        *protected(
            "web_sessions",
            api="SELECT, INSERT, DELETE",
            worker="SELECT (project_id), DELETE",
            check=of_this_project("web_sessions.key_id", "api_keys"),
        ),
        # A request reads verdicts; only a job's supervisor writes, and the sweeper deletes with the job.
        *protected(
            "verdicts",
            api="SELECT",
            worker="SELECT, INSERT, DELETE",
            check=of_this_project("verdicts.job_id", "jobs"),
        ),
        *shared("null_sets"),
        f"GRANT SELECT ON alembic_version TO {Role.OPERATOR}",
        f"GRANT SELECT ON SEQUENCE outbox_id_seq TO {Role.OPERATOR}",
        f"GRANT USAGE ON SCHEMA public TO {', '.join(Role)}",
    ]


def _own_inputs() -> str:
    """What a job names is its project's own. Foreign keys look past row-level security."""
    checkpoints = ("checkpoint_id", "anchor_checkpoint_id")
    datasets = ("dataset_id", "labelled_dataset_id", "retrieval_dataset_id", "trusted_dataset_id")
    own = [of_this_project(f"jobs.{column}", "checkpoints") for column in checkpoints]
    own += [of_this_project(f"jobs.{column}", "datasets") for column in datasets]
    return " AND ".join(own)


_DELETIONS = (
    "SELECT, INSERT (id, project_id, subject, subject_id, reason, key_id, request_id, not_before, counted_at,"
    " num_objects, num_bytes, digests, finished_at)"
)


def _own_and_new() -> str:
    """A request asks for the deletion of what is its project's own, and of nothing else: only the worker
    counts or finishes a deletion, and only operators delete a project. A foreign key cannot say it, because
    a receipt outlives what it names."""
    tables = {"upload": "uploads", "checkpoint": "checkpoints", "dataset": "datasets", "job": "jobs"}
    own = (
        f"(subject = '{subject}' AND EXISTS (SELECT FROM {table} t"
        f" WHERE t.id = deletions.subject_id AND t.project_id = deletions.project_id))"
        for subject, table in tables.items()
    )
    results = "counted_at, num_objects, num_bytes, digests, finished_at"
    return f"reason = 'requested' AND num_nonnulls({results}) = 0 AND ({' OR '.join(own)})"


def _protections_of_webhooks() -> list[str]:
    """Requests make, change and delete webhooks; whoever ends a job writes deliveries; the deliverer works
    with the workers' role."""
    changed = "url, events, state, disabled_reason, sealed_secret, sealed_previous_secret, previous_ends_at"
    served = "state, disabled_reason, failing_since, busy_until, updated_at"
    return [
        *protected(
            "webhooks",
            api=f"SELECT, INSERT, UPDATE ({changed}, failing_since, updated_at), DELETE",
            worker=f"SELECT, UPDATE ({served}), DELETE",
        ),
        *protected(
            "webhook_deliveries",
            api="SELECT, INSERT, UPDATE (state, num_tries, due_at), DELETE",
            worker="SELECT, INSERT, UPDATE, DELETE",
            check=of_this_project("webhook_deliveries.webhook_id", "webhooks"),
        ),
    ]


def _protections_of_requests() -> list[str]:
    """Before its project is known, a request sees the one key or session that it presents. What it adds to
    the trail and to deletions names a key of its project."""
    key, session = f"secret_sha256 = {PRESENTED_KEY}", f"token_sha256 = {PRESENTED_SESSION}"
    added = (
        ("by_own_key", "trail_entries", Role.API, f"actor IS NULL AND ({_own_key('trail_entries')})"),
        (
            "by_retention",
            "trail_entries",
            Role.WORKER,
            "actor IN ('retention', 'webhooks') AND key_id IS NULL",
        ),
        ("by_own_key", "deletions", Role.API, _own_key("deletions")),
        ("unread", "datasets", Role.API, "files IS NULL"),
    )
    return [
        f"CREATE POLICY presented ON api_keys FOR SELECT TO {Role.API} USING ({key})",
        f"CREATE POLICY presented_used ON api_keys FOR UPDATE TO {Role.API} USING ({key})",
        f"CREATE POLICY presented ON web_sessions FOR SELECT TO {Role.API} USING ({session})",
        *(
            f"CREATE POLICY {name} ON {table} AS RESTRICTIVE FOR INSERT TO {role} WITH CHECK ({condition})"
            for name, table, role, condition in added
        ),
    ]


def _own_key(table: str) -> str:
    """The row names a key that this transaction sees.

    A deleted project has none, and requests with its keys are believed for a moment more.
    """
    is_seen = f"EXISTS (SELECT FROM api_keys k WHERE k.id = {table}.key_id)"
    return f"{table}.key_id IS NOT NULL AND ({is_seen} OR NOT EXISTS (SELECT FROM api_keys))"


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
