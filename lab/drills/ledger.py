"""The ledger check: reads PostgreSQL and the object store by itself, and says what breaks a promise.

    python -m lab.drills.ledger [--grace-s 900]

Settings from the environment, as for every process of the service. Prints one sentence for each violation
and what was looked at; exit code 0 none, 1 some, 2 it could not look. Nothing is written anywhere. While
the service works, objects younger than the grace and jobs that are not finished are given their time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import psycopg
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from psycopg.rows import DictRow, dict_row
from sqlalchemy.engine import make_url

from app.settings import Settings, load_settings
from lab.drills import ledger_objects, ledger_rows
from lab.drills.ledger_objects import Graces

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READER_ROLE = "cleanclip_operator"
"""Sees the rows of all projects, where row-level security is on; taken on if the login may."""


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
    """Look at everything. Raises psycopg.Error, BotoCoreError or ClientError where it cannot."""
    graces = Graces(object_s=grace_s, failed_job_s=failed_grace_s)
    bucket = settings.storage.bucket
    with _snapshot(settings.database.url) as connection:
        found = ledger_rows.violations(connection, grace_s=grace_s)
        rows = ledger_objects.read_rows(connection, bucket)
        num_events = _count(connection, "job_events")
        num_artifacts = _count(connection, "artifacts")
    more, num_objects = ledger_objects.violations(_client(settings), bucket, rows, graces)
    return Ledger(
        violations=(*found, *more),
        num_jobs=len(rows.jobs),
        num_events=num_events,
        num_artifacts=num_artifacts,
        num_objects=num_objects,
    )


@contextmanager
def _snapshot(url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """One read-only view of all rows at one moment."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        query = "SELECT 1 FROM pg_roles WHERE rolname = %s AND pg_has_role(current_user, oid, 'MEMBER')"
        if connection.execute(query, [READER_ROLE]).fetchone():
            connection.execute(f"SET ROLE {READER_ROLE}")
        yield connection


def _count(connection: psycopg.Connection[DictRow], table: str) -> int:
    row = connection.execute(f"SELECT count(*) AS num FROM {table}").fetchone()
    return 0 if row is None else int(row["num"])


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


def main(arguments: list[str] | None = None) -> int:
    """Check what the environment points at; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.drills.ledger", description="Are all promises kept?")
    parser.add_argument("--grace-s", type=float, default=900.0, help="how long leftovers may lie")
    parser.add_argument("--failed-grace-s", type=float, default=7 * 86_400.0, help="the same for failed jobs")
    given = parser.parse_args(arguments)
    try:
        ledger = check(load_settings(), grace_s=given.grace_s, failed_grace_s=given.failed_grace_s)
    except (psycopg.Error, BotoCoreError, ClientError, OSError) as error:
        print(f"The ledger could not be read: {error}", file=sys.stderr)
        return 2
    for sentence in ledger.violations:
        print(sentence)
    print(ledger.summary)
    return 1 if ledger.violations else 0


if __name__ == "__main__":
    sys.exit(main())
