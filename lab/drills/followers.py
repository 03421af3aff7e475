"""Hundreds who follow jobs live on one API process; their events are written as a worker writes them.

Every follower must see every event of its job once and in order, and the job's end; also where the API is
stopped and started in the middle. Delay is from the commit of an event to its arrival, all on the same cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

from app.db.roles import Role
from app.db.session import Database, build_engine
from lab.drills.drill import Place, Row
from lab.drills.follow_client import Order, Seen
from lab.drills.load_api import Api, created_job, grounded, serving
from lab.drills.load_client import quantile_ms
from lab.drills.processes import cpu_s, memory_mib, tree
from lab.drills.records import ROOT
from lab.drills.scene import wait_for

NAME = "followers"
TITLE = "Hundreds of followers on one API process"
NUM_JOBS = 20
_SETTLING_S = 0.5
_GIVE_UP_AFTER_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where to follow. `database`: as a worker sees it; the jobs wait to be claimed."""

    port: int
    key: str
    database: Database
    job_ids: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FollowResult:
    """What all followers saw together, beside what they should have."""

    num_followers: int
    num_events: int
    """That should have arrived, over all followers."""
    lost: int
    doubled: int
    disordered: int
    num_cut: int
    num_streams: int
    delays_s: list[float]


@contextmanager
def following(ground: Ground, num_followers: int) -> Iterator[Callable[[], list[Seen]]]:
    """So many followers, spread over the jobs, in a process of their own; yields what waits for their end."""
    job_ids = list(islice(cycle(ground.job_ids), num_followers))
    order = Order(port=ground.port, key=ground.key, job_ids=job_ids)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.drills.follow_client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(order)).encode())
    process.stdin.close()
    process.stdin = None

    def ended() -> list[Seen]:
        output, _ = process.communicate(timeout=_GIVE_UP_AFTER_S)
        return [Seen(**one) for one in json.loads(output)]

    try:
        yield ended
    finally:
        process.kill()
        process.wait()


def work(ground: Ground, events_per_job: int, seconds: float) -> dict[tuple[str, int], float]:
    """Claim the jobs, write their events evenly over the time, finish them: (job, n) → when it was there."""
    written: dict[tuple[str, int], float] = {}
    attempts: dict[str, int] = {}
    for job_id in ground.job_ids:
        with ground.database.unit_of_work() as unit:
            claimed = unit.attempts.claim(job_id, owner="drill", lease_s=600.0)
        assert claimed is not None, f"{job_id} was not to be had"
        attempts[job_id] = claimed.attempt
    began, num = time.monotonic(), events_per_job * len(attempts)
    for index in range(num):
        time.sleep(max(0.0, began + index * seconds / num - time.monotonic()))
        n, place = divmod(index, len(attempts))
        job_id = ground.job_ids[place]
        with ground.database.unit_of_work() as unit:
            assert unit.attempts.record_event(job_id, attempts[job_id], "noted", {"n": n})
        written[job_id, n] = time.monotonic()
    for job_id, attempt in attempts.items():
        with ground.database.unit_of_work() as unit:
            assert unit.attempts.finish_succeeded(job_id, attempt, result={})
    return written


def compare(ground: Ground, seen: Sequence[Seen], written: dict[tuple[str, int], float]) -> FollowResult:
    """What was seen, against the events that the database has."""
    there: dict[str, dict[int, int | None]] = {}
    for job_id in ground.job_ids:
        with ground.database.unit_of_work() as unit:
            project_id = unit.jobs.find(job_id).project_id
            rows, has_more = unit.events.page(project_id, job_id, None, 100_000)
        assert not has_more
        there[job_id] = {row.seq: row.data.get("n") for row in rows}
    lost = doubled = disordered = 0
    delays = []
    for one in seen:
        numbers = [seq for seq, _ in one.events]
        lost += len(there[one.job_id].keys() - set(numbers))
        doubled += len(numbers) - len(set(numbers))
        disordered += numbers != sorted(numbers)
        for seq, arrived in one.events:
            n = there[one.job_id].get(seq)
            if n is not None:
                delays.append(max(0.0, arrived - written[one.job_id, n]))
    return FollowResult(
        num_followers=len(seen),
        num_events=sum(len(there[one.job_id]) for one in seen),
        lost=lost,
        doubled=doubled,
        disordered=disordered,
        num_cut=sum(one.num_cut for one in seen),
        num_streams=sum(one.num_streams for one in seen),
        delays_s=delays,
    )


def observe(
    ground: Ground,
    *,
    num_followers: int,
    events_per_job: int,
    seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
    settled: Callable[[], None] = lambda: None,
) -> FollowResult:
    """Follow and write; `settled` when all follow, `meanwhile` in the middle, while events are written."""
    with following(ground, num_followers) as ended:
        settled()
        time.sleep(_SETTLING_S)
        timer = threading.Timer(seconds / 2, meanwhile)
        timer.start()
        written = work(ground, events_per_job, seconds)
        timer.join()
        seen = ended()
    return compare(ground, seen, written)


# ---------------------------------------------------------------- the drill


def run(place: Place, *, quick: bool) -> list[Row]:
    sizes = (100,) if quick else (200, 500)
    seconds, idle_s = (3.0, 1.0) if quick else (20.0, 5.0)
    works = {
        f"{num} followers{', API restarted' if restarts else ''}": partial(
            _measured, place, num, seconds, idle_s, restarts=restarts
        )
        for num in sizes
        for restarts in (False, True)
    }
    return [_row(found) for found in place.pieces(works)]


def _measured(
    place: Place, num_followers: int, seconds: float, idle_s: float, *, restarts: bool
) -> dict[str, Any]:
    place.say(f"{num_followers} followers" + (", the API restarted in the middle" if restarts else ""))
    folder = place.folder / f"{num_followers}{'-restarted' if restarts else ''}"
    with grounded(folder) as (stack, rows), ExitStack() as apis:
        api = apis.enter_context(serving(folder, stack, rows, project="load"))
        ground = Ground(
            port=api.port,
            key=api.key,
            database=Database(build_engine(stack.settings().database.url, role=Role.OPERATOR)),
            job_ids=[created_job(api)[0] for _ in range(NUM_JOBS)],
        )
        figures = _Figures(api, num_followers, idle_s)

        def restart() -> None:
            if restarts:
                apis.close()
                apis.enter_context(serving(folder, stack, rows, project="load", port=api.port))

        reported = observe(
            ground,
            num_followers=num_followers,
            events_per_job=round(2 * seconds),
            seconds=seconds,
            meanwhile=restart,
            settled=figures.settle,
        )
        busy_cpu = None if restarts else figures.busy_cpu()
        ground.database.dispose()
    return {
        "what": f"{num_followers} followers of {NUM_JOBS} jobs on one API process"
        + (", which is stopped and started in the middle" if restarts else ""),
        "restarts": restarts,
        "idle_cpu": figures.idle_cpu,
        "busy_cpu": busy_cpu,
        "memory_mib": figures.memory_mib,
        "p50_ms": quantile_ms(reported.delays_s, 0.5),
        "p99_ms": quantile_ms(reported.delays_s, 0.99),
        **{name: value for name, value in asdict(reported).items() if name != "delays_s"},
    }


class _Figures:
    """Of the API process, in cores (1.0: one is busy all the time) and MiB beyond what it needs anyway."""

    def __init__(self, api: Api, num_followers: int, idle_s: float) -> None:
        self._api = api
        self._num_followers = num_followers
        self._idle_s = idle_s
        self._memory_before_mib = memory_mib(tree(api.api_pid))
        self._began = (0.0, 0.0)
        self.idle_cpu = self.memory_mib = 0.0

    def settle(self) -> None:
        """Wait until all follow, then look on while nothing happens."""
        wait_for(
            lambda: self._api.metric("cleanclip_event_streams") >= self._num_followers,
            _GIVE_UP_AFTER_S,
            "all followers come",
        )
        time.sleep(_SETTLING_S)
        began_s, before_s = time.monotonic(), cpu_s(tree(self._api.api_pid))
        time.sleep(self._idle_s)
        after_s = cpu_s(tree(self._api.api_pid))
        self.idle_cpu = (after_s - before_s) / (time.monotonic() - began_s)
        self.memory_mib = memory_mib(tree(self._api.api_pid)) - self._memory_before_mib
        self._began = (time.monotonic(), after_s)

    def busy_cpu(self) -> float:
        """Since it settled."""
        began_s, before_s = self._began
        return (cpu_s(tree(self._api.api_pid)) - before_s) / (time.monotonic() - began_s)


def _row(found: dict[str, Any]) -> Row:
    """Speed is the machine's too: reported, not judged."""
    load = f"; API: {100 * found['idle_cpu']:.0f} % of a core while nothing happens"
    if found["busy_cpu"] is not None:
        load += f", {100 * found['busy_cpu']:.0f} % under way"
    return Row(
        broken=found["what"],
        times=found["num_followers"],
        expected="each sees every event of its job once, in order, and the end",
        happened=f"{found['num_events']} arrivals over {found['num_streams']} streams, {found['num_cut']} cut"
        f"; delay p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms{load}; "
        f"{found['memory_mib']:.0f} MiB more for all of them",
        lost=found["lost"],
        doubled=found["doubled"] + found["disordered"],
        ok=not (found["lost"] or found["doubled"] or found["disordered"]) and found["num_events"] > 0,
    )
