"""What a request did to the database and the store, and what a project's rows and the bucket are like."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, event, text

from app.storage.port import ObjectStore
from tests.fixtures.rows import OWNED
from tests.integration.api.service import Service


class Watched:
    """An `ObjectStore` that notes which of its methods are called."""

    def __init__(self, store: ObjectStore, work: Work) -> None:
        self._store = store
        self._work = work

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def noted(*arguments: Any, **named: Any) -> Any:
            self._work.note(f"store.{name}")
            return found(*arguments, **named)

        return noted


@dataclass
class Work:
    """Statements (without their values) and calls of the store since `begin`."""

    steps: list[str] = field(default_factory=list)

    def note(self, step: str) -> None:
        self.steps.append(step)

    def begin(self) -> None:
        self.steps.clear()

    def done(self) -> tuple[str, ...]:
        return tuple(self.steps)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note every statement of this process: read `done` before asking the database anything else."""

        def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.note(statement)

        event.listen(Engine, "before_cursor_execute", heard)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", heard)


Rows = Mapping[str, Mapping[str, str]]


def rows_of(service: Service, project_id: str) -> Rows:
    """Table → primary key → the whole row, for every row of the project in every table."""
    found: dict[str, dict[str, str]] = {}
    with service.engine.connect() as connection:
        for table in OWNED:
            column = "id" if table.name == "projects" else "project_id"
            query = text(f"SELECT to_jsonb(t) AS whole FROM {table.name} t WHERE {column} = :project")
            rows = [row.whole for row in connection.execute(query, {"project": project_id})]
            names = [key.name for key in table.primary_key]
            found[table.name] = {
                "/".join(str(row[name]) for name in names): json.dumps(row, sort_keys=True) for row in rows
            }
    return found


def differences(before: Rows, after: Rows, *, allowed: Callable[[str, str, str], bool]) -> list[str]:
    """Every row that came, went or changed, but for those that `allowed(table, before, after)` accepts."""
    found = []
    for table, rows in before.items():
        for key in sorted(rows.keys() | after[table].keys()):
            old, new = rows.get(key, ""), after[table].get(key, "")
            if old != new and not allowed(table, old, new):
                found.append(f"{table} {key}: {old or 'nothing'} became {new or 'nothing'}")
    return found


def bucket_of(service: Service) -> list[str]:
    """Every object and every part of an unfinished upload, with size and ETag."""
    found = [f"{item.key} {item.size_bytes} {item.etag}" for item in service.store.list_prefix("")]
    unfinished = service.s3.list_multipart_uploads(Bucket=service.store.bucket).get("Uploads", [])
    for upload in unfinished:
        parts = service.s3.list_parts(
            Bucket=service.store.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        ).get("Parts", [])
        found += [f"{upload['Key']} {upload['UploadId']}"]
        found += [
            f"{upload['Key']} part {part['PartNumber']} {part['Size']} {part['ETag']}" for part in parts
        ]
    return sorted(found)
