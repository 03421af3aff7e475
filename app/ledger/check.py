"""The ledger check: reads PostgreSQL and the object store by itself, and says what breaks a promise.

Each promise about rows is one query that finds what breaks it, and a sentence. Of objects: each row has its
object with its bytes, each object a row. SQL, calls and a table of states of its own: nothing of the service
is used but its settings, so that an error in the service's code cannot hide itself. No library does this.

Nothing is written anywhere. While the service works, young objects, those of unfinished jobs, and those of
failed jobs that a retry may want are given their time. `python -m app.cli ledger`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from psycopg.rows import DictRow, dict_row
from sqlalchemy.engine import make_url

from app.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READER_ROLE = "cleanclip_operator"
"""Sees the rows of all projects, where row-level security is on; taken on if the login may."""
_STATES = ("queued", "running", "cancelling", "paused", "succeeded", "failed", "cancelled")
_MOVES = (
    *("queued>running", "queued>paused", "queued>cancelled", "queued>failed"),
    *("running>queued", "running>cancelling", "running>paused", "running>running"),
    *("running>succeeded", "running>failed", "running>cancelled", "cancelling>cancelled"),
    *("paused>queued", "paused>cancelled", "failed>queued"),
)
"""`running>running` is a claim after a lease ran out; `failed>queued` a retry, the only way out of an end."""
MUST_HAVE = {
    "sanitize": ("model.safetensors", "report.json", "SHA256SUMS"),
    "audit": ("report.json", "SHA256SUMS"),
    "scan": ("report.json", "SHA256SUMS"),
    "text_scan": ("report.json", "SHA256SUMS"),
    "vet": ("report.json", "excluded.json", "SHA256SUMS"),
    "inspect": ("model.safetensors", "config.json", "SHA256SUMS"),
    "validate": ("dataset.json", "SHA256SUMS"),
}
"""By every kind; written by hand, so that a wrong value of a kind is found here."""
_FOLDERS = ("uploads/", "checkpoints/", "datasets/", "outputs/", "states/", "nulls/")
_NUM_READERS = 8
_CHUNK_BYTES = 1024 * 1024

_PROMISES = {
    "Job {id} is in the state {state!r}, which does not exist.": """
        SELECT id, state FROM jobs WHERE NOT state = ANY(%(states)s)""",
    "Job {id} is {state} but {what}.": """
        SELECT id, state, what FROM jobs CROSS JOIN LATERAL (VALUES
        ('holds no lease', state IN ('running', 'cancelling')
        AND (lease_owner IS NULL OR lease_expires_at IS NULL)),
        ('holds a lease', state NOT IN ('running', 'cancelling')
        AND (lease_owner IS NOT NULL OR lease_expires_at IS NOT NULL)),
        ('has no time of its end', state IN ('succeeded', 'failed', 'cancelled')
        AND finished_at IS NULL),
        ('has a time of its end', state NOT IN ('succeeded', 'failed', 'cancelled')
        AND finished_at IS NOT NULL),
        ('has no result', state = 'succeeded' AND result IS NULL),
        ('has a published result', state <> 'succeeded' AND result ? 'artifact_ids'),
        ('has no error', state = 'failed' AND error IS NULL),
        ('has an error', state <> 'failed' AND error IS NOT NULL),
        ('was never asked to be cancelled', state = 'cancelling' AND cancel_requested_at IS NULL)
        ) AS faults(what, is_so) WHERE is_so""",
    "Job {id} used {attempts_used} attempts of {max_attempts}, and was claimed {attempt} times.": """
        SELECT id, attempt, attempts_used, max_attempts FROM jobs
        WHERE attempts_used > max_attempts OR attempts_used > attempt OR attempts_used < 0""",
    "Job {id}: the lease of {lease_owner} ended at {lease_expires_at}; nobody took it back.": """
        SELECT id, lease_owner, lease_expires_at FROM jobs
        WHERE lease_expires_at < now() - make_interval(secs => %(grace_s)s)""",
    "Job {id} counts {event_seq} events, but {num} are there, numbered {low} to {top}.": """
        SELECT id, event_seq, num, low, top FROM (
        SELECT jobs.id, event_seq, count(seq) AS num, min(seq) AS low, max(seq) AS top
        FROM jobs LEFT JOIN job_events ON job_id = jobs.id GROUP BY jobs.id) AS counted
        WHERE num <> event_seq OR top IS DISTINCT FROM event_seq OR low IS DISTINCT FROM 1""",
    "Job {job_id} went from {before} to {after} (event {seq}, {type}).": """
        SELECT job_id, seq, type, before, after FROM (
        SELECT job_id, seq, type, data->>'state' AS after,
        lag(data->>'state') OVER (PARTITION BY job_id ORDER BY seq) AS before
        FROM job_events WHERE data ? 'state') AS moves
        WHERE before IS NOT NULL AND (NOT before || '>' || after = ANY(%(moves)s)
        OR (before = 'failed' AND type <> 'retried'))""",
    "Job {id} is {state}, but its last event says {said}.": """
        SELECT id, state, said FROM (
        SELECT DISTINCT ON (jobs.id) jobs.id, state, data->>'state' AS said FROM jobs
        LEFT JOIN job_events ON job_id = jobs.id AND data ? 'state' ORDER BY jobs.id, seq DESC) AS last
        WHERE state IS DISTINCT FROM said""",
    "Job {id} is at attempt {attempt}, but was started {num} times as {differing} attempts.": """
        SELECT jobs.id, attempt, count(seq) AS num, count(DISTINCT data->>'attempt') AS differing
        FROM jobs LEFT JOIN job_events ON job_id = jobs.id AND type = 'started' GROUP BY jobs.id
        HAVING count(seq) <> attempt OR count(DISTINCT data->>'attempt') <> attempt""",
    "Job {job_id} succeeded {num} times.": """
        SELECT job_id, count(*) AS num FROM job_events WHERE type = 'succeeded'
        GROUP BY job_id HAVING count(*) > 1""",
    "Artifact {id} ({name}) is not of the winning attempt of job {job_id}, which is {state}.": """
        SELECT artifacts.id, artifacts.name, job_id, jobs.state
        FROM artifacts JOIN jobs ON jobs.id = job_id
        WHERE jobs.state <> 'succeeded' OR artifacts.attempt <> jobs.attempt
        OR NOT coalesce(jobs.result->'artifact_ids' ? artifacts.id, false)
        OR artifacts.project_id <> jobs.project_id""",
    "Job {id} ({kind}) succeeded without {missing}.": """
        SELECT jobs.id, kind, missing FROM jobs
        CROSS JOIN LATERAL jsonb_array_elements_text(%(must_have)s::jsonb->kind) AS wanted(missing)
        WHERE state = 'succeeded' AND NOT EXISTS (
        SELECT FROM artifacts WHERE job_id = jobs.id AND name = missing)
        AND NOT EXISTS (SELECT FROM deletions WHERE subject_id = jobs.id)""",
    "The result of job {id} names {named}, which is not there.": """
        SELECT jobs.id, named FROM jobs
        CROSS JOIN LATERAL jsonb_array_elements_text(result->'artifact_ids') AS names(named)
        WHERE NOT EXISTS (SELECT FROM artifacts WHERE artifacts.id = named AND job_id = jobs.id)
        AND NOT EXISTS (SELECT FROM deletions WHERE subject_id = jobs.id)""",
    "Outbox message {id} about job {job_id} has waited since {created_at}.": """
        SELECT id, payload->>'job_id' AS job_id, created_at FROM outbox
        WHERE published_at IS NULL AND created_at < now() - make_interval(secs => %(grace_s)s)""",
    "Job {id} is queued, but no worker was or will be notified.": """
        SELECT id FROM jobs WHERE state = 'queued' AND hinted_at IS NULL AND NOT EXISTS (
        SELECT FROM outbox WHERE published_at IS NULL AND payload->>'job_id' = jobs.id)""",
    "Outbox message {id} is about job {job_id}, which does not exist.": """
        SELECT id, payload->>'job_id' AS job_id FROM outbox WHERE published_at IS NULL
        AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = payload->>'job_id')""",
    "Nobody is on record for having created job {id}.": """
        SELECT jobs.id FROM jobs WHERE kind NOT IN ('inspect', 'validate') AND NOT EXISTS (
        SELECT FROM trail_entries WHERE action = 'job.create' AND target_id = jobs.id
        AND trail_entries.project_id = jobs.project_id)""",
    "Checkpoint {id} is {state}, but its inspection {job_id} is {job_state}.": """
        SELECT checkpoints.id, checkpoints.state, jobs.id AS job_id, jobs.state AS job_state
        FROM checkpoints JOIN jobs ON jobs.id = inspect_job_id
        WHERE (checkpoints.state = 'accepted') <> (jobs.state = 'succeeded')
        OR (checkpoints.state = 'rejected') <> (jobs.state IN ('failed', 'cancelled'))""",
    "Dataset {id} is {state}, but its validation {job_id} is {job_state}.": """
        SELECT datasets.id, datasets.state, jobs.id AS job_id, jobs.state AS job_state
        FROM datasets JOIN jobs ON jobs.id = validate_job_id
        WHERE (datasets.state = 'ready') <> (jobs.state = 'succeeded')
        OR (datasets.state = 'rejected') <> (jobs.state IN ('failed', 'cancelled'))""",
}
"""Sentence → the query whose rows break the promise; the sentence is formatted with each."""

_EXPECTED = """
    SELECT 'artifact ' || a.id AS of, a.object_key AS key, a.size_bytes AS size_bytes, a.sha256 AS sha256
    FROM artifacts a LEFT JOIN checkpoints c ON c.inspect_job_id = a.job_id
    WHERE (c.id IS NULL OR c.canonical_prefix IS NOT NULL) AND NOT EXISTS (
      SELECT FROM deletions WHERE subject_id IN (a.job_id, c.id, a.project_id))
    UNION ALL
    SELECT 'checkpoint ' || id, upload_object_key, size_bytes, sha256 FROM checkpoints
    WHERE upload_object_key IS NOT NULL
      AND NOT EXISTS (SELECT FROM deletions WHERE subject_id IN (checkpoints.id, project_id))
    UNION ALL
    SELECT 'upload ' || id, object_key, size_bytes, NULL FROM uploads
    WHERE state = 'completed' AND purpose = 'dataset'
      AND NOT EXISTS (SELECT FROM deletions WHERE subject_id IN (uploads.id, project_id))
    UNION ALL
    SELECT 'dataset ' || d.id, file->>'key', (file->>'size_bytes')::bigint, file->>'sha256'
    FROM datasets d CROSS JOIN LATERAL jsonb_array_elements(files) AS file
    JOIN uploads u ON u.object_key = file->>'key' AND u.state = 'completed' AND u.purpose = 'dataset'
    WHERE coalesce(file->>'bucket', %(bucket)s) = %(bucket)s
      AND NOT EXISTS (SELECT FROM deletions WHERE subject_id IN (u.id, u.project_id))
    UNION ALL
    SELECT 'null ' || id, object_key, size_bytes, sha256 FROM null_sets
    UNION ALL
    SELECT 'training state of job ' || jobs.id, (kept->>'prefix') || (file->>'name'),
      (file->>'size_bytes')::bigint, file->>'sha256'
    FROM jobs CROSS JOIN LATERAL (VALUES (resume_state), (resume_state->'previous')) AS states(kept)
    CROSS JOIN LATERAL jsonb_array_elements(
      CASE jsonb_typeof(kept->'files') WHEN 'array' THEN kept->'files' ELSE '[]' END) AS file
    ORDER BY sha256 NULLS FIRST"""
"""Each object that a row points at and that is not about to be deleted. Of two rows the one with a digest."""
_EXCUSED = """
    WITH busy AS (
      SELECT id FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')
        OR (swept_at IS NULL AND finished_at > now() - make_interval(
          secs => CASE state WHEN 'failed' THEN %(failed_grace_s)s ELSE %(grace_s)s END)))
    SELECT 'outputs' AS folder, id AS owner FROM busy
    UNION ALL SELECT 'states', id FROM busy
    UNION ALL SELECT 'checkpoints', checkpoints.id FROM checkpoints JOIN busy ON busy.id = inspect_job_id
    UNION ALL SELECT 'uploads', id FROM uploads WHERE state IN ('open', 'completing')"""
"""Whose objects may lie there without a row: somebody still works with them, or is about to remove them."""


class LedgerUnreadable(Exception):
    """The database or the store could not be read: that is not a clean bill."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What was found, and how much was looked at: a check of nothing proves nothing."""

    violations: tuple[str, ...]
    num_jobs: int
    num_events: int
    num_artifacts: int
    num_objects: int

    @property
    def summary(self) -> str:
        return (
            f"{len(self.violations)} violations in {self.num_jobs} jobs, {self.num_events} events, "
            f"{self.num_artifacts} artifacts, {self.num_objects} objects"
        )


def check(settings: Settings, *, grace_s: float = 900.0, failed_grace_s: float = 7 * 86_400.0) -> Ledger:
    """Look at everything. Raises LedgerUnreadable where it cannot.

    `grace_s`: how long a lease, a message or an object without a row may wait; of failed jobs, the other.
    """
    values = {
        "states": list(_STATES),
        "moves": list(_MOVES),
        "must_have": json.dumps(MUST_HAVE),
        "bucket": settings.storage.bucket,
        "grace_s": grace_s,
        "failed_grace_s": failed_grace_s,
    }
    try:
        with _snapshot(settings.database.url) as connection:

            def ask(query: str) -> list[DictRow]:
                return connection.execute(query.encode(), values).fetchall()

            found = [s.format(**row) for s, query in _PROMISES.items() for row in ask(query)]
            counts = [
                ask(f"SELECT count(*) AS num FROM {table}")[0]["num"]  # noqa: S608 - ours
                for table in ("jobs", "job_events", "artifacts")
            ]
            expected = {row["key"]: row for row in ask(_EXPECTED)}
            excused = {(row["folder"], row["owner"]) for row in ask(_EXCUSED)}
            known = {row["id"] for row in ask("SELECT store_upload_id AS id FROM uploads")}
        client, bucket = _client(settings), settings.storage.bucket
        objects = {item["Key"]: item for item in _listed(client, bucket, "list_objects_v2", "Contents")}
        unfinished = _listed(client, bucket, "list_multipart_uploads", "Uploads")
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            looks = pool.map(
                lambda row: _fault(client, bucket, row, objects.get(row["key"])), expected.values()
            )
            found += [fault for fault in looks if fault]
    except (psycopg.Error, BotoCoreError, ClientError, OSError) as error:
        raise LedgerUnreadable(str(error)) from error
    old = datetime.now(UTC) - timedelta(seconds=grace_s)
    for key, item in objects.items():
        folder, *rest = key.split("/")
        is_excused = len(rest) > 1 and (folder, rest[1]) in excused
        if key not in expected and not is_excused and item["LastModified"] <= old:
            found.append(f"Object {key} has lain there since {item['LastModified']}, and no row knows it.")
    for upload in unfinished:
        if upload["UploadId"] not in known and upload["Initiated"] < old:
            found.append(f"The parts of an unfinished upload to {upload['Key']} belong to no row.")
    num_jobs, num_events, num_artifacts = counts
    return Ledger(
        violations=tuple(found),
        num_jobs=num_jobs,
        num_events=num_events,
        num_artifacts=num_artifacts,
        num_objects=len(objects),
    )


@contextmanager
def _snapshot(url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """One read-only view of all rows at one moment."""
    parts = make_url(url)  # not as text: SQLAlchemy leaves a password's spaces as they are, libpq takes none
    options = {**parts.query, **parts.translate_connect_args(database="dbname", username="user")}
    conninfo = psycopg.conninfo.make_conninfo(**options)
    with psycopg.connect(conninfo, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        query = "SELECT 1 FROM pg_roles WHERE rolname = %s AND pg_has_role(current_user, oid, 'MEMBER')"
        if connection.execute(query, [READER_ROLE]).fetchone():
            connection.execute(f"SET LOCAL ROLE {READER_ROLE}")  # a pooler may hand the session on
        yield connection


def _client(settings: Settings) -> S3Client:
    storage = settings.storage
    return boto3.session.Session().client(
        "s3",
        endpoint_url=storage.endpoint_url,
        region_name=storage.region,
        aws_access_key_id=storage.access_key,
        aws_secret_access_key=storage.secret_key.get_secret_value(),
        config=Config(s3={"addressing_style": storage.addressing_style}, max_pool_connections=16, proxies={}),
    )


def _listed(client: S3Client, bucket: str, call: Any, field: str) -> list[Mapping[str, Any]]:
    """What the listing says, of the service's own folders: others may keep data beside them."""
    lister = client.get_paginator(call)
    return [
        item
        for folder in _FOLDERS
        for page in lister.paginate(Bucket=bucket, Prefix=folder)
        for item in page.get(field, ())
    ]


def _fault(client: S3Client, bucket: str, row: DictRow, item: Mapping[str, Any] | None) -> str | None:
    key, size_bytes = row["key"], row["size_bytes"]
    if item is None:
        return f"The object of {row['of']} is not there: {key}."
    if size_bytes is not None and item["Size"] != size_bytes:
        return f"The object of {row['of']} has {item['Size']} bytes, its row says {size_bytes}: {key}."
    if row["sha256"] is None:
        return None
    digest = hashlib.sha256()
    try:
        for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK_BYTES):
            digest.update(chunk)
    except ClientError as error:
        return f"The object of {row['of']} cannot be read: {key} ({error})."
    if digest.hexdigest() != row["sha256"]:
        return f"The object of {row['of']} has other bytes than its row's digest says: {key}."
    return None
