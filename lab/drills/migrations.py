"""The next change of the schema, with many rows, while others read, poll and write: how long did they wait?

The drill brings two migrations that a next release could have (`online_change`).
The probers are plain SQL, as the superuser, who is subject to no policy: the question here is locks. The API
serves meanwhile, too, polled and given jobs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psycopg

from app.local.stack import Stack
from lab.drills.drill import Place, Row
from lab.drills.filling import Ground, connect, fill, prepare
from lab.drills.load_api import requests_of, serving
from lab.drills.load_client import Order, load
from lab.drills.online_change import configuration_with_next_migrations, head
from lab.drills.processes import beside, output_of
from lab.drills.records import ROOT

NAME = "migrations"
TITLE = "Migrations beside a running service"
DEFAULT = ROOT / "alembic.ini"
NUM_JOBS = 100_000
MAX_WAIT_S = 1.0
_LOCKED = """SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.query_start)), 0)
    FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND a.application_name <> 'cleanclip-migration'
    AND EXISTS (SELECT FROM pg_stat_activity m WHERE m.application_name = 'cleanclip-migration'
                AND m.pid = ANY (pg_blocking_pids(a.pid)))"""
Look = Callable[[], None]
READ = "SELECT id, state, phase, version, spec, progress, created_at FROM jobs WHERE id = %s"


@dataclass
class Waits:
    """Of one prober: how long its statements took, and what was refused."""

    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    locked_s: float = 0.0
    """The longest that any statement was seen to wait behind a migration's lock, held or asked for."""

    @property
    def longest_s(self) -> float:
        return max(self.seconds, default=0.0)


def run(place: Place, *, quick: bool) -> list[Row]:
    num_jobs = 2_000 if quick else NUM_JOBS
    with Stack(place.folder / "stack", environ=dict(os.environ)) as stack:
        url = stack.settings().database.url
        rows = [_from_empty(url)]
        ground = _fill(url, num_jobs)
        ini = configuration_with_next_migrations(place.folder)
        revisions = _revisions(url, ini)
        revisions = revisions[revisions.index(head()) :]
        for before, after in pairwise(revisions):
            place.say(f"{before} → {after} with {num_jobs} jobs")
            rows.append(_step(url, ground, ini, ("upgrade", before, after), num_jobs))
            place.say(f"{after} → {before} → {after} under a serving API")
            rows.append(_under_the_api(stack, ground, ini, before, after))
        for after, before in pairwise(reversed(revisions)):
            place.say(f"{after} → {before} with {num_jobs} jobs")
            rows.append(_step(url, ground, ini, ("downgrade", after, before), num_jobs))
        return rows


def _from_empty(url: str) -> Row:
    revisions = _revisions(url, DEFAULT)
    failed = []
    for arguments in (
        *(("upgrade", revision) for revision in revisions),
        ("check",),
        ("downgrade", "base"),
        ("upgrade", "head"),
        ("check",),
    ):
        try:
            _alembic(url, DEFAULT, *arguments)
        except RuntimeError as error:
            failed.append(str(error)[-200:])
    return Row(
        broken="nothing: every step up from empty, down to nothing, up again; compared with the models twice",
        times=len(revisions),
        expected="each step works; models and migrations agree",
        happened="; ".join(failed) or f"migrations: {len(revisions)}, no difference",
        ok=not failed,
    )


def _fill(url: str, num_jobs: int) -> Ground:
    project_id = "prj_" + "0" * 26
    with connect(url) as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES (%s, 'migrations')", (project_id,))
    ground = prepare(url, project_id)
    fill(url, ground, num_jobs)
    return ground


def _step(url: str, ground: Ground, ini: Path, step: tuple[str, str, str], num_jobs: int) -> Row:
    """One step: the verb, the revision before, the revision after."""
    verb, start, end = step
    before = _count(url)
    with _probing(url, ground) as (reads, writes):
        time.sleep(0.5)
        began = time.monotonic()
        _alembic(url, ini, verb, end)
        took_s = time.monotonic() - began
        time.sleep(0.5)
    after = _count(url)
    lost = before + len(writes.seconds) - after
    locked_s = max(reads.locked_s, writes.locked_s)
    refused = reads.refused + writes.refused
    return Row(
        broken=f"{start} → {end} with {num_jobs} jobs, while one prober reads jobs and one adds them",
        times=len(reads.seconds) + len(writes.seconds),
        expected=f"no statement waits for a lock for {MAX_WAIT_S:g} s, none is refused, no row is lost",
        happened=f"took {took_s:.1f} s; longest lock {locked_s:.2f} s; "
        f"longest of {len(reads.seconds)} reads {reads.longest_s:.2f} s, of "
        f"{len(writes.seconds)} writes {writes.longest_s:.2f} s"
        + (f"; refused {len(refused)}: {refused[0]}" if refused else ""),
        lost=lost,
        recovery_s=locked_s,
        ok=locked_s < MAX_WAIT_S and not refused and lost == 0,
    )


def _under_the_api(stack: Stack, ground: Ground, ini: Path, before: str, after: str) -> Row:
    """Down, then up again while the API is polled and given jobs fifty times a second."""
    url = stack.settings().database.url
    _alembic(url, ini, "downgrade", before)
    with serving(ini.parent, stack, ground) as api, ThreadPoolExecutor(1) as threads:
        requests = requests_of(api)
        mixed = requests["poll, whole job"] + requests["create a job"]
        seconds = 8.0
        asked = threads.submit(load, Order(port=api.port, requests=mixed, seconds=seconds, rate=50.0))
        time.sleep(1.5)
        began = time.monotonic()
        with watching_locks(url) as waits:
            _alembic(url, ini, "upgrade", after)
        took_s = time.monotonic() - began
        found = asked.result()
    longest_s = max(found.latencies_s)
    good = sum(number for status, number in found.statuses.items() if status in {"200", "202"})
    return Row(
        broken=f"{before} → {after} while the API serves polls and takes jobs, 50 a second",
        times=len(found.latencies_s),
        expected=f"every request is answered well, none waits for a lock for {MAX_WAIT_S:g} s",
        happened=f"took {took_s:.1f} s; {found.statuses}; longest lock {waits.locked_s:.2f} s, "
        f"longest request {longest_s:.2f} s",
        lost=len(found.latencies_s) - good,
        recovery_s=waits.locked_s,
        ok=good == len(found.latencies_s) > 0 and not found.num_broken and waits.locked_s < MAX_WAIT_S,
    )


@contextmanager
def _probing(url: str, ground: Ground) -> Iterator[tuple[Waits, Waits]]:
    """One thread reads single jobs, another adds jobs, each as fast as every hundredth of a second."""
    reads, writes = Waits(), Waits()
    tag = time.time_ns() // 1_000_000

    def prober(waits: Waits, place: psycopg.Connection[Any], statement: str, values: list[str]) -> Look:
        numbers = count(1)

        def probe() -> None:
            number, began = next(numbers), time.monotonic()
            try:
                place.execute(statement, [value.format(n=f"{tag}{number:06d}") for value in values])
            except psycopg.Error as error:
                waits.refused.append(str(error).splitlines()[0])
            else:
                waits.seconds.append(time.monotonic() - began)

        return probe

    add = (
        "INSERT INTO jobs (id, project_id, kind, state, phases, progress, spec, seed, metadata, attempt,"
        " attempts_used, attempts_lost, max_attempts, version, event_seq)"
        " VALUES (%s, %s, 'audit', 'queued', '[]', '{}', '{}', 0, '{}', 0, 0, 0, 3, 1, 0)"
    )
    with (
        connect(url) as one,
        connect(url) as other,
        beside(prober(reads, one, READ, ["job_" + "0" * 26]), 0.01),
        beside(prober(writes, other, add, ["job_zz{n}", ground.project_id]), 0.01),
        watching_locks(url) as locks,
    ):
        yield reads, writes
        reads.locked_s = locks.locked_s


@contextmanager
def watching_locks(url: str) -> Iterator[Waits]:
    """Look fifty times a second who waits behind a migration: not for a processor, nor for one another."""
    waits = Waits()
    with connect(url) as connection:

        def look() -> None:
            (seconds,) = connection.execute(_LOCKED).fetchone() or (0.0,)
            waits.locked_s = max(waits.locked_s, float(seconds))

        with beside(look, 0.02):
            yield waits


def _count(url: str) -> int:
    with connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM jobs").fetchone()
    assert found is not None
    return int(found[0])


def _revisions(url: str, ini: Path) -> list[str]:
    """Oldest first."""
    said = _alembic(url, ini, "history")
    return [line.split(" -> ")[1].split(" ")[0].strip(",") for line in reversed(said.strip().splitlines())]


def _alembic(url: str, ini: Path, *arguments: str) -> str:
    return output_of(sys.executable, "-m", "alembic", "-c", str(ini), "-x", f"url={url}", *arguments)
