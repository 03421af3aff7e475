"""What must be true of the rows alone: each promise is one query that finds what breaks it, and a sentence.

Its own SQL, and its own copy of the state table: nothing of the service is used, so that an error in the
service's code cannot hide itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

STATES = ("queued", "running", "cancelling", "paused", "succeeded", "failed", "cancelled")
MOVES = (
    *("queued>running", "queued>paused", "queued>cancelled", "queued>failed"),
    *("running>queued", "running>cancelling", "running>paused", "running>running"),
    *("running>succeeded", "running>failed", "running>cancelled", "cancelling>cancelled"),
    *("paused>queued", "paused>cancelled", "failed>queued"),
)
"""`running>running` is a claim after a lease ran out; `failed>queued` a retry, the only way out of an end."""
_MUST_HAVE = {
    "sanitize": ("model.safetensors", "report.json", "SHA256SUMS"),
    "audit": ("report.json", "SHA256SUMS"),
    "scan": ("report.json", "SHA256SUMS"),
    "vet": ("report.json", "excluded.json", "SHA256SUMS"),
    "inspect": ("model.safetensors", "config.json", "SHA256SUMS"),
    "validate": ("dataset.json", "SHA256SUMS"),
}


@dataclass(frozen=True, kw_only=True)
class Promise:
    """`query` returns the rows that break it; `sentence` is formatted with each."""

    name: str
    query: str
    sentence: str


PROMISES: Sequence[Promise] = (
    Promise(
        name="a job is in a known state",
        query="SELECT id, state FROM jobs WHERE NOT state = ANY(%(states)s)",
        sentence="Job {id} is in the state {state!r}, which does not exist.",
    ),
    Promise(
        name="a job's columns agree with its state",
        query="""
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
              ('has a result', state <> 'succeeded' AND result IS NOT NULL),
              ('has no error', state = 'failed' AND error IS NULL),
              ('has an error', state <> 'failed' AND error IS NOT NULL),
              ('was never asked to be cancelled', state = 'cancelling' AND cancel_requested_at IS NULL)
            ) AS faults(what, is_so) WHERE is_so""",
        sentence="Job {id} is {state} but {what}.",
    ),
    Promise(
        name="a job is tried no more often than it may be",
        query="""SELECT id, attempt, attempts_used, max_attempts FROM jobs
            WHERE attempts_used > max_attempts OR attempts_used > attempt OR attempts_used < 0""",
        sentence="Job {id} used {attempts_used} attempts of {max_attempts}, and was claimed {attempt} times.",
    ),
    Promise(
        name="no lease is left to itself",
        query="""SELECT id, lease_owner, lease_expires_at FROM jobs
            WHERE lease_expires_at < now() - make_interval(secs => %(grace_s)s)""",
        sentence="Job {id}: the lease of {lease_owner} ended at {lease_expires_at}; nobody took it back.",
    ),
    Promise(
        name="events are numbered without a gap",
        query="""
            SELECT id, event_seq, num, low, top FROM (
              SELECT jobs.id, event_seq, count(seq) AS num, min(seq) AS low, max(seq) AS top
              FROM jobs LEFT JOIN job_events ON job_id = jobs.id GROUP BY jobs.id) AS counted
            WHERE num <> event_seq OR top IS DISTINCT FROM event_seq OR low IS DISTINCT FROM 1""",
        sentence="Job {id} counts {event_seq} events, but {num} are there, numbered {low} to {top}.",
    ),
    Promise(
        name="no terminal state is ever left, and every move is allowed",
        query="""
            SELECT job_id, seq, type, before, after FROM (
              SELECT job_id, seq, type, data->>'state' AS after,
                lag(data->>'state') OVER (PARTITION BY job_id ORDER BY seq) AS before
              FROM job_events WHERE data ? 'state') AS moves
            WHERE before IS NOT NULL AND (NOT before || '>' || after = ANY(%(moves)s)
              OR (before = 'failed' AND type <> 'retried'))""",
        sentence="Job {job_id} went from {before} to {after} (event {seq}, {type}).",
    ),
    Promise(
        name="a job's state is what its events say",
        query="""
            SELECT id, state, told FROM (
              SELECT DISTINCT ON (jobs.id) jobs.id, state, data->>'state' AS told FROM jobs
              LEFT JOIN job_events ON job_id = jobs.id AND data ? 'state' ORDER BY jobs.id, seq DESC) AS last
            WHERE state IS DISTINCT FROM told""",
        sentence="Job {id} is {state}, but its last event says {told}.",
    ),
    Promise(
        name="an attempt is claimed once",
        query="""
            SELECT jobs.id, attempt, count(seq) AS num, count(DISTINCT data->>'attempt') AS differing
            FROM jobs LEFT JOIN job_events ON job_id = jobs.id AND type = 'started' GROUP BY jobs.id
            HAVING count(seq) <> attempt OR count(DISTINCT data->>'attempt') <> attempt""",
        sentence="Job {id} is at attempt {attempt}, but was started {num} times as {differing} attempts.",
    ),
    Promise(
        name="a job completes once",
        query="""SELECT job_id, count(*) AS num FROM job_events WHERE type = 'succeeded'
            GROUP BY job_id HAVING count(*) > 1""",
        sentence="Job {job_id} succeeded {num} times.",
    ),
    Promise(
        name="only the attempt that won has published, and only what the result names",
        query="""
            SELECT artifacts.id, artifacts.name, job_id, jobs.state
            FROM artifacts JOIN jobs ON jobs.id = job_id
            WHERE jobs.state <> 'succeeded' OR artifacts.attempt <> jobs.attempt
              OR NOT coalesce(jobs.result->'artifact_ids' ? artifacts.id, false)
              OR artifacts.project_id <> jobs.project_id""",
        sentence="Artifact {id} ({name}) is not of the winning attempt of job {job_id}, which is {state}.",
    ),
    Promise(
        name="a succeeded job has its outputs",
        query="""
            SELECT jobs.id, kind, missing FROM jobs
            CROSS JOIN LATERAL jsonb_array_elements_text(%(must_have)s::jsonb->kind) AS wanted(missing)
            WHERE state = 'succeeded' AND NOT EXISTS (
              SELECT FROM artifacts WHERE job_id = jobs.id AND name = missing)
            AND NOT EXISTS (SELECT FROM deletions WHERE subject_id = jobs.id)""",
        sentence="Job {id} ({kind}) succeeded without {missing}.",
    ),
    Promise(
        name="every artifact that a result names is there",
        query="""
            SELECT jobs.id, named FROM jobs
            CROSS JOIN LATERAL jsonb_array_elements_text(result->'artifact_ids') AS names(named)
            WHERE NOT EXISTS (SELECT FROM artifacts WHERE artifacts.id = named AND job_id = jobs.id)
            AND NOT EXISTS (SELECT FROM deletions WHERE subject_id = jobs.id)""",
        sentence="The result of job {id} names {named}, which is not there.",
    ),
    Promise(
        name="every message was published",
        query="""SELECT id, payload->>'job_id' AS job_id, created_at FROM outbox
            WHERE published_at IS NULL AND created_at < now() - make_interval(secs => %(grace_s)s)""",
        sentence="Outbox message {id} about job {job_id} has waited since {created_at}.",
    ),
    Promise(
        name="a queued job was announced",
        query="""
            SELECT id FROM jobs WHERE state = 'queued' AND hinted_at IS NULL AND NOT EXISTS (
              SELECT FROM outbox WHERE published_at IS NULL AND payload->>'job_id' = jobs.id)""",
        sentence="Job {id} is queued, but no worker was or will be notified.",
    ),
    Promise(
        name="a message is about a job that exists",
        query="""SELECT id, payload->>'job_id' AS job_id FROM outbox WHERE published_at IS NULL
            AND NOT EXISTS (SELECT FROM jobs WHERE jobs.id = payload->>'job_id')""",
        sentence="Outbox message {id} is about job {job_id}, which does not exist.",
    ),
    Promise(
        name="every order of a job is in the trail",
        query="""
            SELECT jobs.id FROM jobs WHERE kind IN ('sanitize', 'audit', 'scan', 'vet') AND NOT EXISTS (
              SELECT FROM trail_entries WHERE action = 'job.create' AND target_id = jobs.id
              AND trail_entries.project_id = jobs.project_id)""",
        sentence="Nobody is on record for having created job {id}.",
    ),
    Promise(
        name="a checkpoint is what its inspection made of it",
        query="""
            SELECT checkpoints.id, checkpoints.state, jobs.id AS job_id, jobs.state AS job_state
            FROM checkpoints JOIN jobs ON jobs.id = inspect_job_id
            WHERE (checkpoints.state = 'accepted') <> (jobs.state = 'succeeded')
              OR (checkpoints.state = 'rejected') <> (jobs.state IN ('failed', 'cancelled'))""",
        sentence="Checkpoint {id} is {state}, but its inspection {job_id} is {job_state}.",
    ),
    Promise(
        name="a dataset is what its validation made of it",
        query="""
            SELECT datasets.id, datasets.state, jobs.id AS job_id, jobs.state AS job_state
            FROM datasets JOIN jobs ON jobs.id = validate_job_id
            WHERE (datasets.state = 'ready') <> (jobs.state = 'succeeded')
              OR (datasets.state = 'rejected') <> (jobs.state IN ('failed', 'cancelled'))""",
        sentence="Dataset {id} is {state}, but its validation {job_id} is {job_state}.",
    ),
)


def violations(connection: Connection[DictRow], *, grace_s: float) -> list[str]:
    """A sentence for everything that breaks a promise. `grace_s`: how long a lease or message may wait."""
    values = _values(grace_s)
    found = []
    for promise in PROMISES:
        found += [promise.sentence.format(**row) for row in connection.execute(promise.query, values)]
    return found


def _values(grace_s: float) -> dict[str, Any]:
    return {
        "states": list(STATES),
        "moves": list(MOVES),
        "grace_s": grace_s,
        "must_have": json.dumps(_MUST_HAVE),
    }
