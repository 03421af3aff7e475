"""Webhooks and their deliveries, and a deliverer that may say in the trail that it disabled one.

Two new tables, which processes of before do not know: what happens in those is told to nobody. A policy of
the trail lets in one author more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.db.row_security import of_this_project, protected

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_EVENTS = (
    *("job.succeeded", "job.failed", "job.cancelled"),
    *("checkpoint.accepted", "checkpoint.rejected", "dataset.ready", "dataset.rejected"),
    "webhook.test",
)
_ERRORS = (
    *("url_refused", "no_public_address", "no_connection", "tls_failed", "timed_out", "bad_answer"),
    *("redirected", "refused", "secret_unreadable", "interrupted"),
)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _word(name: str, words: tuple[str, ...], *, nullable: bool = False) -> sa.Column[str]:
    kind = sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(name, kind, nullable=nullable)


def _time(name: str, *, nullable: bool = True, now: bool = False) -> sa.Column[object]:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        _text("id"),
        _text("project_id"),
        _text("url"),
        sa.Column("events", sa.ARRAY(sa.Text()), nullable=False),
        _word("state", ("enabled", "disabled")),
        _word("disabled_reason", ("requested", "gone", "failing"), nullable=True),
        _text("sealed_secret"),
        _text("sealed_previous_secret", nullable=True),
        _time("previous_ends_at"),
        _time("failing_since"),
        _time("busy_until"),
        _time("created_at", nullable=False, now=True),
        _time("updated_at", nullable=False, now=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhooks_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_project_id_id", "webhooks", ["project_id", "id"])


def _create_deliveries() -> None:
    table = "webhook_deliveries"
    op.create_table(
        table,
        _text("id"),
        _text("project_id"),
        _text("webhook_id"),
        _text("message_id"),
        _word("event", _EVENTS),
        _text("subject_id"),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        _word("state", ("pending", "delivered", "failed")),
        _number("attempt"),
        _number("num_tries"),
        _time("due_at", nullable=False, now=True),
        _time("tried_at"),
        _number("status", nullable=True),
        _word("error", _ERRORS, nullable=True),
        _text("excerpt", nullable=True),
        _number("took_ms", nullable=True),
        _time("created_at", nullable=False, now=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f(f"fk_{table}_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )
    op.create_index("ix_webhook_deliveries_webhook_id_id", table, ["webhook_id", "id"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_pending", table, ["webhook_id", "due_at"], postgresql_where=pending
    )
    op.create_index("ix_webhook_deliveries_subject_id", table, ["subject_id"])


def _protections() -> list[str]:
    """Requests make, change and delete webhooks; whoever ends a job writes deliveries; the deliverer works
    with the workers' role."""
    changed = "url, events, state, disabled_reason, sealed_secret, sealed_previous_secret, previous_ends_at"
    served = "state, disabled_reason, failing_since, busy_until, updated_at"
    replayed = "state, num_tries, due_at"
    own = of_this_project("webhook_deliveries.webhook_id", "webhooks")
    return [
        *protected(
            "webhooks",
            api=f"SELECT, INSERT, UPDATE ({changed}, failing_since, updated_at), DELETE",
            worker=f"SELECT, UPDATE ({served}), DELETE",
        ),
        *protected(
            "webhook_deliveries",
            api=f"SELECT, INSERT, UPDATE ({replayed}), DELETE",
            worker="SELECT, INSERT, UPDATE, DELETE",
            check=own,
        ),
        _authors("'retention', 'webhooks'"),
    ]


def _authors(actors: str) -> str:
    return f"ALTER POLICY by_retention ON trail_entries WITH CHECK (actor IN ({actors}) AND key_id IS NULL)"


def upgrade() -> None:
    _create_webhooks()
    _create_deliveries()
    for statement in _protections():
        op.execute(statement)


def downgrade() -> None:
    op.execute(_authors("'retention'"))
    op.drop_table("webhook_deliveries")
    op.drop_table("webhooks")
