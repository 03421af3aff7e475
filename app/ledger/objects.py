"""What must be true of rows and objects together: each row has its object with its bytes, each object a row.

Its own reading of both. Objects younger than the grace are nobody's business yet; objects of an unfinished
job may lie there as long as the job does, and those of a failed one for as long as a retry may want them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from psycopg import Connection
from psycopg.rows import DictRow

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_FOLDERS = ("uploads/", "checkpoints/", "datasets/", "outputs/", "states/", "nulls/")
_NUM_READERS = 8
_CHUNK_BYTES = 1024 * 1024
_ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, kw_only=True)
class Graces:
    """Seconds that things may lie about after they were needed."""

    object_s: float
    failed_job_s: float


@dataclass(frozen=True, kw_only=True)
class Expected:
    """An object that a row points at. Size and digest where the row knows them."""

    row: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(kw_only=True)
class Rows:
    """What the database says of objects."""

    expected: dict[str, Expected] = field(default_factory=dict)
    jobs: dict[str, DictRow] = field(default_factory=dict)
    checkpoints: dict[str, DictRow] = field(default_factory=dict)
    uploads: dict[str, DictRow] = field(default_factory=dict)


def read_rows(connection: Connection[DictRow], bucket: str) -> Rows:
    """Everything that names an object of ours, and is not about to be deleted."""
    rows = Rows(
        jobs={r["id"]: r for r in connection.execute("SELECT id, state, finished_at, swept_at FROM jobs")},
        checkpoints={r["id"]: r for r in connection.execute("SELECT * FROM checkpoints")},
        uploads={r["id"]: r for r in connection.execute("SELECT * FROM uploads")},
    )
    expect = rows.expected
    going = {row["subject_id"] for row in connection.execute("SELECT subject_id FROM deletions")}
    query = """SELECT artifacts.*, checkpoints.id AS checkpoint_id, canonical_prefix FROM artifacts
        LEFT JOIN checkpoints ON inspect_job_id = job_id"""
    for row in connection.execute(query):
        is_there = row["checkpoint_id"] is None or row["canonical_prefix"] is not None
        if is_there and not going & {row["job_id"], row["checkpoint_id"], row["project_id"]}:
            expect[row["object_key"]] = Expected(
                row=f"artifact {row['id']}", size_bytes=row["size_bytes"], sha256=row["sha256"]
            )
    for row in rows.checkpoints.values():
        if row["upload_object_key"] is not None and not going & {row["id"], row["project_id"]}:
            expect[row["upload_object_key"]] = Expected(
                row=f"checkpoint {row['id']}", size_bytes=row["size_bytes"], sha256=row["sha256"]
            )
    for row in rows.uploads.values():
        is_kept = row["state"] == "completed" and row["purpose"] == "dataset"
        if is_kept and not going & {row["id"], row["project_id"]}:
            expect[row["object_key"]] = Expected(row=f"upload {row['id']}", size_bytes=row["size_bytes"])
    for row in connection.execute("SELECT id, files FROM datasets WHERE files IS NOT NULL"):
        for file in row["files"]:
            if file["bucket"] in (None, bucket) and file["key"] in expect:
                expect[file["key"]] = Expected(
                    row=f"dataset {row['id']}", size_bytes=file["size_bytes"], sha256=file["sha256"]
                )
    for row in connection.execute("SELECT * FROM null_sets"):
        expect[row["object_key"]] = Expected(
            row=f"null {row['id']}", size_bytes=row["size_bytes"], sha256=row["sha256"]
        )
    for row in connection.execute("SELECT id, resume_state FROM jobs WHERE resume_state IS NOT NULL"):
        for state in (row["resume_state"], row["resume_state"].get("previous")):
            for file in (state or {}).get("files", ()):
                expect[state["prefix"] + file["name"]] = Expected(
                    row=f"training state of job {row['id']}",
                    size_bytes=file["size_bytes"],
                    sha256=file["sha256"],
                )
    return rows


def list_objects(client: S3Client, bucket: str) -> dict[str, Mapping[str, Any]]:
    """Key → what the listing says, of the service's own folders: others may keep data beside them."""
    lister = client.get_paginator("list_objects_v2")
    pages = (page for folder in _FOLDERS for page in lister.paginate(Bucket=bucket, Prefix=folder))
    return {item["Key"]: item for page in pages for item in page.get("Contents", ())}


def list_unfinished(client: S3Client, bucket: str) -> list[Mapping[str, Any]]:
    lister = client.get_paginator("list_multipart_uploads")
    pages = (page for folder in _FOLDERS for page in lister.paginate(Bucket=bucket, Prefix=folder))
    return [upload for page in pages for upload in page.get("Uploads", ())]


def violations(client: S3Client, bucket: str, rows: Rows, graces: Graces) -> tuple[list[str], int]:
    """A sentence for each violation, and how many objects there are."""
    objects = list_objects(client, bucket)
    found = _without_object(client, bucket, rows, objects)
    now = datetime.now(UTC)
    for key, item in objects.items():
        is_young = item["LastModified"] > now - timedelta(seconds=graces.object_s)
        if key not in rows.expected and not is_young and not _is_excused(key, rows, graces, now):
            found.append(f"Object {key} has lain there since {item['LastModified']}, and no row knows it.")
    for upload in list_unfinished(client, bucket):
        if not _is_known_upload(str(upload["UploadId"]), rows) and upload["Initiated"] < now - timedelta(
            seconds=graces.object_s
        ):
            found.append(f"The parts of an unfinished upload to {upload['Key']} belong to no row.")
    return found, len(objects)


def _without_object(
    client: S3Client, bucket: str, rows: Rows, objects: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    def look(entry: tuple[str, Expected]) -> str | None:
        key, expected = entry
        if key not in objects:
            return f"The object of {expected.row} is not there: {key}."
        size_bytes = objects[key]["Size"]
        if expected.size_bytes is not None and size_bytes != expected.size_bytes:
            said = f"has {size_bytes} bytes, its row says {expected.size_bytes}"
            return f"The object of {expected.row} {said}: {key}."
        if expected.sha256 is None:
            return None
        try:
            sha256 = _sha256(client, bucket, key)
        except ClientError as error:
            return f"The object of {expected.row} cannot be read: {key} ({error})."
        if sha256 != expected.sha256:
            return f"The object of {expected.row} has other bytes than its row's digest says: {key}."
        return None

    with ThreadPoolExecutor(_NUM_READERS) as pool:
        return [sentence for sentence in pool.map(look, rows.expected.items()) if sentence]


def _sha256(client: S3Client, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _is_excused(key: str, rows: Rows, graces: Graces, now: datetime) -> bool:
    """Whether somebody still works with it, or is about to take it away."""
    kind, _, rest = key.partition("/")
    owner = rest.split("/")[1] if rest.count("/") >= 1 else ""
    if kind in ("outputs", "states"):
        return _may_still_lie(rows.jobs.get(owner), graces, now)
    if kind == "checkpoints":
        checkpoint = rows.checkpoints.get(owner)
        return checkpoint is not None and _may_still_lie(
            rows.jobs.get(checkpoint["inspect_job_id"]), graces, now
        )
    if kind == "uploads":
        upload = rows.uploads.get(owner)
        return upload is not None and upload["state"] in ("open", "completing")
    return False


def _may_still_lie(job: DictRow | None, graces: Graces, now: datetime) -> bool:
    if job is None:
        return False
    if job["state"] not in _ENDED:
        return True
    grace_s = graces.failed_job_s if job["state"] == "failed" else graces.object_s
    return bool(job["swept_at"] is None and job["finished_at"] > now - timedelta(seconds=grace_s))


def _is_known_upload(upload_id: str, rows: Rows) -> bool:
    known: Iterable[DictRow] = rows.uploads.values()
    return any(row["store_upload_id"] == upload_id for row in known)
