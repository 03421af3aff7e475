"""An object store and a database that count their writes, and stop at one of them: the drills' only hook.

Composed around the real ones by the drills' own worker (drills.worker_entry); production code knows
nothing of it. A write has a name that does not depend on ids or timing (`put outputs/report.json #1`,
`commit finish_succeeded #1`); a gate names one of them, a side and what to do there. `before` a commit
means: its statements were sent, the commit was not.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.storage.port import ObjectStore

_READS = frozenset({"peek", "time", "is_anything_due"})
_HOLD_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What happens at one write: the process is killed or stopped there, or held until it is released."""

    write: str
    side: Literal["before", "after"]
    action: Literal["kill", "stop", "hold"] = "kill"


class Turnstile:
    """Counts writes, one line of JSON each in `log`, and does what its gate says."""

    def __init__(self, log: Path, gate: Gate | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._folder = log.parent
        self._gate = gate
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def write(self, name: str, **facts: Any) -> Iterator[None]:
        """Around one write."""
        with self._lock:
            self._counts[name] += 1
            numbered = f"{name} #{self._counts[name]}"
        self._pass(numbered, "before", facts)
        yield
        self._pass(numbered, "after", facts)

    def _pass(self, name: str, side: str, facts: Mapping[str, Any]) -> None:
        line = json.dumps({"write": name, "side": side, **facts})
        os.write(self._log, line.encode() + b"\n")
        gate = self._gate
        if gate is None or (gate.write, gate.side) != (name, side):
            return
        (self._folder / "at-the-gate").touch()
        if gate.action == "hold":
            self._hold()
        else:
            os.kill(os.getpid(), signal.SIGKILL if gate.action == "kill" else signal.SIGSTOP)

    def _hold(self) -> None:
        deadline = time.monotonic() + _HOLD_S
        while not (self._folder / "released").exists() and time.monotonic() < deadline:
            time.sleep(0.02)


def read_log(log: Path) -> list[dict[str, Any]]:
    """What a Turnstile wrote; a line that a kill cut short is left out."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [json.loads(line) for line in lines]


class CountedStore:
    """The real store; what changes it passes the turnstile."""

    def __init__(self, store: ObjectStore, turnstile: Turnstile) -> None:
        self._store = store
        self._turnstile = turnstile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def in_bucket(self, bucket: str) -> ObjectStore:
        return counted_store(self._store.in_bucket(bucket), self._turnstile)

    def put_file(self, key: str, path: Path, **options: Any) -> Any:
        with self._turnstile.write(f"put {_short(key)}", key=key):
            return self._store.put_file(key, path, **options)

    def put_bytes(self, key: str, body: bytes, **options: Any) -> Any:
        with self._turnstile.write(f"put {_short(key)}", key=key):
            return self._store.put_bytes(key, body, **options)

    def delete(self, key: str) -> None:
        with self._turnstile.write(f"delete {_short(key)}", key=key):
            self._store.delete(key)

    def delete_prefix(self, prefix: str) -> int:
        with self._turnstile.write(f"delete {prefix.partition('/')[0]}/", key=prefix):
            return self._store.delete_prefix(prefix)


def counted_store(store: ObjectStore, turnstile: Turnstile) -> ObjectStore:
    return cast(ObjectStore, CountedStore(store, turnstile))


def _short(key: str) -> str:
    """Kind and file name: what stays the same from one run to the next."""
    return f"{key.partition('/')[0]}/{key.rpartition('/')[2]}"


class CountedDatabase(Database):
    """The real database; units of work that write pass the turnstile just before and after their commit."""

    def __init__(self, database: Database, turnstile: Turnstile) -> None:
        self._real = database
        self._turnstile = turnstile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @contextmanager
    def unit_of_work(self, *arguments: Any, **options: Any) -> Iterator[UnitOfWork]:
        calls: list[tuple[str, Mapping[str, Any]]] = []
        with self._real.unit_of_work(*arguments, **options) as unit:
            unit.attempts = cast(Any, _Recorder(unit.attempts, calls))
            yield unit
            if not calls:
                return
            name, facts = _name(*calls[-1])
            passing = self._turnstile.write(name, **facts)
            passing.__enter__()
        passing.__exit__(None, None, None)


class _Recorder:
    """A repository that remembers which of its writing methods was called."""

    def __init__(self, repository: Any, calls: list[tuple[str, Mapping[str, Any]]]) -> None:
        self._repository = repository
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)
        if name in _READS or not callable(method):
            return method

        def called(*arguments: Any, **values: Any) -> Any:
            self._calls.append((name, values))
            return method(*arguments, **values)

        return called


def _name(method: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if method != "heartbeat":
        return f"commit {method}", {}
    running = [phase.value for phase, state in (values.get("phases") or {}).items() if state == "running"]
    step = (values.get("progress") or {}).get("step")
    return f"commit heartbeat in {running[-1] if running else 'no phase'}", {"step": step}
