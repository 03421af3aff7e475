"""Everything that leaves the service, by place: logs, answers, objects, rows, the broker, the child."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import redis
from sqlalchemy import Engine, text

from app.db.schema import metadata
from app.storage.port import ObjectStore
from lab.drills.processes import processes_in
from tests.integration.access.calls import header_faults

_SIGNATURE = re.compile(r"X-Amz-Signature=([0-9a-f]{20,})")


class Recorder:
    """A client that keeps every answer, whole: those to what was accepted apart from the refusals."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self.places: dict[str, bytes] = defaultdict(bytes)
        self.signatures: set[str] = set()
        self.faults: list[str] = []

    def __call__(self, method: str, path: str, key: str | None = None, **values: Any) -> httpx.Response:
        headers = dict(values.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        answer = self._http.request(method, path, headers=headers, **values)
        whole = f"{answer.status_code}\n{answer.headers}\n{answer.text}\n"
        self.places["answer/refused" if answer.status_code >= 400 else "answer/given"] += whole.encode()
        self.faults += [f"{method} {path}, {answer.status_code}: {fault}" for fault in header_faults(answer)]
        self.signatures |= set(_SIGNATURE.findall(whole))
        return answer

    def close(self) -> None:
        self._http.close()


def rows(engine: Engine) -> dict[str, bytes]:
    """Every table, whole, as text: what a dump of the database has."""
    found = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            lines = connection.execute(text(f"SELECT to_jsonb(t)::text FROM {table.name} t")).scalars()
            found[f"rows/{table.name}"] = "\n".join(lines).encode()
    return found


def objects(store: ObjectStore) -> dict[str, bytes]:
    """Every object's name and content, by the first part of its name; reports apart from weights."""
    found: dict[str, bytes] = defaultdict(bytes)
    for item in store.list_prefix(""):
        group = item.key.partition("/")[0]
        found[f"object/{group}"] += item.key.encode() + b"\n" + store.read_bytes(item.key, max_bytes=10**7)
    return dict(found)


def broker(url: str) -> dict[str, bytes]:
    """Every key and value that the broker holds."""
    found = b""
    with redis.Redis.from_url(url) as client:
        for name in client.scan_iter():
            found += name + b"\n" + (client.dump(name) or b"") + b"\n"
            if client.type(name) == b"list":
                found += b"\n".join(client.lrange(name, 0, -1))
    return {"broker/all": found}


def logs(folder: Path) -> dict[str, bytes]:
    """Standard output and error of every process."""
    return {f"log/{path.stem}": path.read_bytes() for path in folder.glob("*.log")}


def child(work_dir: Path) -> Mapping[str, bytes]:
    """Environment and command lines of the processes that work in job folders now, and the folders' files."""
    found: dict[str, bytes] = defaultdict(bytes)
    for pid in processes_in(work_dir):
        for name in ("environ", "cmdline"):
            try:
                found[f"child/{name}"] += (Path("/proc") / str(pid) / name).read_bytes()
            except OSError:  # it ended meanwhile
                continue
    for path in sorted(work_dir.rglob("*")):
        try:
            where = "inputs" if "inputs" in path.parts else "folder"
            found[f"child/{where}"] += str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        except OSError:
            continue
    return found
