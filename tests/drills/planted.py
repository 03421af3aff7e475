"""A clean world's database to plant violations in, and every kind of violation of its rows."""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from app.ledger.check import check
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.fixtures.databases import plain


@dataclass(frozen=True, kw_only=True)
class Clean:
    """What the planting may name."""

    settings: Settings
    store: S3Store
    url: str
    succeeded: str
    failed: str
    waiting: str

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(plain(self.url)) as connection:
            done = connection.execute(statement.encode(), values)
            assert done.rowcount != 0, "nothing was planted"

    def only(self, query: str, *values: object) -> str:
        with psycopg.connect(plain(self.url)) as connection:
            row = connection.execute(query.encode(), values).fetchone()
            assert row is not None
            return str(row[0])

    def violations(self, grace_s: float = 0.0) -> tuple[str, ...]:
        return check(self.settings, grace_s=grace_s, failed_grace_s=0.0).violations


ROWS: dict[str, tuple[Callable[[Clean], None], str]] = {
    "a state that does not exist": (
        lambda c: (
            c.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_state"),
            c.execute("UPDATE jobs SET state = 'limbo' WHERE id = %s", c.waiting),
        )[0],
        "is in the state 'limbo', which does not exist",
    ),
    "a queued job that holds a lease": (
        lambda c: c.execute(
            "UPDATE jobs SET lease_owner = 'w', lease_expires_at = now() + '1 h' WHERE id = %s", c.waiting
        ),
        "is queued but holds a lease",
    ),
    "a succeeded job without a result": (
        lambda c: c.execute("UPDATE jobs SET result = NULL WHERE id = %s", c.succeeded),
        "is succeeded but has no result",
    ),
    "a queued job with what only a succeeded one publishes": (
        lambda c: c.execute("""UPDATE jobs SET result = '{"artifact_ids": []}' WHERE id = %s""", c.waiting),
        "is queued but has a published result",
    ),
    "a failed job without an error": (
        lambda c: c.execute("UPDATE jobs SET error = NULL WHERE id = %s", c.failed),
        "is failed but has no error",
    ),
    "an end without its time": (
        lambda c: c.execute("UPDATE jobs SET finished_at = NULL WHERE id = %s", c.failed),
        "is failed but has no time of its end",
    ),
    "more attempts than allowed": (
        lambda c: c.execute("UPDATE jobs SET max_attempts = 2 WHERE id = %s", c.failed),
        "used 3 attempts of 2",
    ),
    "a lease nobody took back": (
        lambda c: c.execute(
            "UPDATE jobs SET state = 'running', lease_owner = 'gone', lease_expires_at = now() - "
            "interval '1 h' WHERE id = %s",
            c.waiting,
        ),
        "the lease of gone ended at",
    ),
    "a gap in the event numbers": (
        lambda c: c.execute("DELETE FROM job_events WHERE job_id = %s AND seq = 3", c.succeeded),
        "events, but",
    ),
    "an event that is not counted": (
        lambda c: c.execute("UPDATE jobs SET event_seq = event_seq - 1 WHERE id = %s", c.succeeded),
        "events, but",
    ),
    "a success that was left again": (
        lambda c: (
            c.execute(
                "INSERT INTO job_events (job_id, seq, project_id, type, data) SELECT id, event_seq + 1, "
                "project_id, 'handed_back', '{\"state\": \"queued\"}' FROM jobs WHERE id = %s",
                c.succeeded,
            ),
            c.execute("UPDATE jobs SET event_seq = event_seq + 1 WHERE id = %s", c.succeeded),
        )[0],
        "went from succeeded to queued",
    ),
    "a failure that was left without a retry": (
        lambda c: (
            c.execute(
                "INSERT INTO job_events (job_id, seq, project_id, type, data) SELECT id, event_seq + 1, "
                "project_id, 'lease_expired', '{\"state\": \"queued\"}' FROM jobs WHERE id = %s",
                c.failed,
            ),
            c.execute("UPDATE jobs SET event_seq = event_seq + 1 WHERE id = %s", c.failed),
        )[0],
        "went from failed to queued",
    ),
    "a state that no event tells of": (
        lambda c: c.execute("UPDATE jobs SET state = 'paused' WHERE id = %s", c.waiting),
        "is paused, but its last event says queued",
    ),
    "an attempt that was claimed twice": (
        lambda c: c.execute("UPDATE jobs SET attempt = attempt + 1 WHERE id = %s", c.succeeded),
        "is at attempt 2, but was started 1 times",
    ),
    "a job that succeeded twice": (
        lambda c: (
            c.execute(
                "INSERT INTO job_events (job_id, seq, project_id, type, data) SELECT id, event_seq + 1, "
                "project_id, 'succeeded', '{\"state\": \"succeeded\"}' FROM jobs WHERE id = %s",
                c.succeeded,
            ),
            c.execute("UPDATE jobs SET event_seq = event_seq + 1 WHERE id = %s", c.succeeded),
        )[0],
        "succeeded 2 times",
    ),
    "an artifact of an attempt that lost": (
        lambda c: c.execute("UPDATE artifacts SET attempt = 7 WHERE job_id = %s", c.succeeded),
        "is not of the winning attempt",
    ),
    "an artifact that the result does not name": (
        lambda c: c.execute(
            "UPDATE jobs SET result = jsonb_set(result, '{artifact_ids}', '[]') WHERE id = %s", c.succeeded
        ),
        "is not of the winning attempt",
    ),
    "an output that is missing": (
        lambda c: c.execute(
            "DELETE FROM artifacts WHERE job_id = %s AND name = 'model.safetensors'", c.succeeded
        ),
        "succeeded without model.safetensors",
    ),
    "a result that names what is not there": (
        lambda c: c.execute(
            "UPDATE jobs SET result = jsonb_set(result, '{artifact_ids}', (result->'artifact_ids') || "
            "'[\"art_ghost\"]') WHERE id = %s",
            c.succeeded,
        ),
        "names art_ghost, which is not there",
    ),
    "a message that nobody told": (
        lambda c: c.execute(
            "UPDATE outbox SET published_at = NULL, created_at = now() - interval '1 h' "
            "WHERE payload->>'job_id' = %s",
            c.waiting,
        ),
        "has waited since",
    ),
    "a queued job that nobody will hear of": (
        lambda c: c.execute("UPDATE jobs SET hinted_at = NULL WHERE id = %s", c.waiting),
        "no worker was or will be notified",
    ),
    "a message about nothing": (
        lambda c: c.execute(
            "INSERT INTO outbox (project_id, topic, num_tries, payload) SELECT project_id, 'job.ready', 0, "
            '\'{"job_id": "job_ghost", "kind": "audit"}\' FROM jobs WHERE id = %s',
            c.waiting,
        ),
        "job_ghost, which does not exist",
    ),
    "a job that nobody ordered": (
        lambda c: c.execute("UPDATE trail_entries SET target_id = 'x' WHERE target_id = %s", c.waiting),
        "Nobody is on record for having created job",
    ),
    "a checkpoint accepted without an inspection": (
        lambda c: c.execute("UPDATE checkpoints SET state = 'rejected'"),
        "is rejected, but its inspection",
    ),
    "a dataset ready without a validation": (
        lambda c: c.execute("UPDATE datasets SET state = 'validating' WHERE kind = 'pairs'"),
        "is validating, but its validation",
    ),
    "a digest that differs": (
        lambda c: c.execute(
            "UPDATE artifacts SET sha256 = repeat('0', 64) WHERE job_id = %s AND name = 'report.json'",
            c.succeeded,
        ),
        "has other bytes than its row's digest says",
    ),
    "a size that differs": (
        lambda c: c.execute(
            "UPDATE artifacts SET size_bytes = 3 WHERE job_id = %s AND name = 'report.json'", c.succeeded
        ),
        "bytes, its row says 3",
    ),
    "a training state that is not there": (
        lambda c: c.execute(
            "UPDATE jobs SET resume_state = jsonb_build_object("
            "'prefix', 'states/' || project_id || '/' || id || '/gone/',"
            ' \'files\', \'[{"name": "x", "sha256": "", "size_bytes": 1}]\'::jsonb) WHERE id = %s',
            c.waiting,
        ),
        "The object of training state of job",
    ),
    "objects whose rows are gone": (
        lambda c: c.execute("DELETE FROM artifacts WHERE job_id = %s", c.succeeded),
        "and no row knows it",
    ),
}
