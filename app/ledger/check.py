"""The ledger check: reads PostgreSQL and the object store by itself, and says what breaks a promise.

Nothing is written anywhere. While the service works, objects younger than the grace and jobs that are not
finished are given their time. `python -m app.cli ledger`.
"""

from __future__ import annotations

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

from app.ledger import objects as ledger_objects
from app.ledger import rows as ledger_rows
from app.ledger.objects import Graces
from app.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READER_ROLE = "cleanclip_operator"
"""Sees the rows of all projects, where row-level security is on; taken on if the login may."""


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
    """Look at everything. Raises LedgerUnreadable where it cannot."""
    try:
        return _check(settings, Graces(object_s=grace_s, failed_job_s=failed_grace_s), grace_s)
    except (psycopg.Error, BotoCoreError, ClientError, OSError) as error:
        raise LedgerUnreadable(str(error)) from error


def _check(settings: Settings, graces: Graces, grace_s: float) -> Ledger:
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


def _count(connection: psycopg.Connection[DictRow], table: str) -> int:
    row = connection.execute(f"SELECT count(*) AS num FROM {table}").fetchone()  # noqa: S608 - ours
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
