"""Verdicts by the digest of the weights. A new table, which processes of before do not know."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.db.row_security import of_this_project, protected

revision = "0015"
down_revision = "0013"
branch_labels = None
depends_on = None

_STAGES = ("audit", "before_cleaning", "after_cleaning")
_OUTCOMES = ("fail", "undecided", "inconclusive", "pass")
_BADNESS = "CASE outcome WHEN 'fail' THEN 3 WHEN 'undecided' THEN 2 WHEN 'inconclusive' THEN 1 ELSE 0 END"


def _word(name: str, words: tuple[str, ...]) -> sa.Column[str]:
    kind = sa.Enum(*words, name=name, native_enum=False, length=32, create_constraint=True)
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    op.create_table(
        "verdicts",
        sa.Column("job_id", sa.Text(), nullable=False),
        _word("stage", _STAGES),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("weights_sha256", sa.Text(), nullable=False),
        _word("outcome", _OUTCOMES),
        sa.Column("badness", sa.BigInteger(), sa.Computed(_BADNESS, persisted=True), nullable=False),
        sa.Column("num_triggers", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_verdicts_job_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_verdicts_project_id")),
        sa.PrimaryKeyConstraint("job_id", "stage", name=op.f("pk_verdicts")),
    )
    op.create_index(
        "ix_verdicts_worst_first", "verdicts", ["project_id", "weights_sha256", "badness", "job_id", "stage"]
    )
    # A request reads them; only a job's supervisor writes, and the sweeper deletes with the job.
    statements = protected(
        "verdicts",
        api="SELECT",
        worker="SELECT, INSERT, DELETE",
        check=of_this_project("verdicts.job_id", "jobs"),
    )
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("verdicts")
