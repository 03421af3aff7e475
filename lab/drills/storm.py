"""The storm: small real jobs, four workers; every second something is killed or broken, until all are done.

Every worker that ends is started again, as an operator's machine does. The weights of the faults are
in `blow`: mild enough that a job, which needs some seconds in peace now and then, ends; hard enough that no
worker lives for long.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from app.local.stack import Stack
from lab.drills.crew import Crew
from lab.drills.drill import Place, Row
from lab.drills.proxy import StoreProxy, Trouble
from lab.drills.runs import WEIGHTS, Stage
from lab.drills.scene import Scene, embedded
from lab.drills.servers import Servers, cut_connections, empty_broker

NAME = "storm"
TITLE = "A storm over small real jobs"
NUM_WORKERS = 4
RECIPE = {"epochs": 4}
GIVE_UP_S = 3 * 3600.0
_TROUBLE_S = 2.0


@dataclass
class StormResult:
    """What a storm did."""

    num_jobs: int
    took_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    num_attempts: int = 0
    weights_differ: int = 0
    doubled: int = 0
    violations: tuple[str, ...] = ()


class Storm:
    """One storm over one scene. `stack` None: servers are shared with others and are not restarted."""

    def __init__(
        self, scene: Scene, crew: Crew, stack: Stack | None, proxy: StoreProxy | None, seed: int
    ) -> None:
        self._scene, self._crew, self._proxy = scene, crew, proxy
        self._servers = Servers(stack) if stack is not None else None
        self._random = random.Random(seed)
        self._asleep: dict[str, float] = {}
        self.faults: Counter[str] = Counter()

    def blow(self) -> str:
        """One fault; what it was."""
        self._wake()
        worker = self._random.choice(self._crew.workers)
        settings = self._scene.settings
        acts: dict[str, tuple[int, Callable[[], object]]] = {
            "hint doubled": (20, self._hint_twice),
            "hint for no job": (
                10,
                partial(self._scene.publisher.job_ready, new_id("job"), JobKind.SANITIZE),
            ),
            "worker killed": (6, partial(self._crew.signal, worker, signal.SIGKILL)),
            "child killed": (3, partial(self._crew.kill_child, worker)),
            "worker told to leave": (5, partial(self._crew.signal, worker, signal.SIGTERM)),
            "worker asleep past its lease": (4, partial(self._put_to_sleep, worker)),
            "sweeper killed": (5, partial(self._crew.signal, "sweeper-0", signal.SIGKILL)),
            "connections to PostgreSQL cut": (8, partial(cut_connections, settings.database.url)),
            "PostgreSQL restarted": (3, partial(self._restart, "postgres")),
            "broker emptied": (6, partial(empty_broker, settings.broker.url)),
            "broker killed and restarted": (3, partial(self._restart, "valkey")),
            "object store answers 503": (5, partial(self._trouble, Trouble(kind="503", times=20))),
            "object store cuts bodies short": (
                5,
                partial(self._trouble, Trouble(kind="cut", times=2, method="GET")),
            ),
        }
        name = self._random.choices(list(acts), [weight for weight, _ in acts.values()])[0]
        self.faults[name] += 1
        acts[name][1]()
        return name

    def end(self) -> None:
        """Calm: everybody awake, nothing ordered any more."""
        for name in self._asleep:
            self._crew.signal(name, signal.SIGCONT)
        self._asleep.clear()
        if self._proxy is not None:
            self._proxy.calm()

    def _hint_twice(self) -> None:
        with self._scene.hands.unit_of_work() as unit:
            versions, _ = unit.jobs.page(self._scene.project_id, None, 1, state=JobState.QUEUED)
            rows = unit.jobs.listed(self._scene.project_id, versions)
        for job in rows:
            for _ in range(2):
                self._scene.publisher.job_ready(job.id, job.kind)

    def _put_to_sleep(self, worker: str) -> None:
        self._crew.signal(worker, signal.SIGSTOP)
        self._asleep[worker] = time.monotonic() + 6.0

    def _wake(self) -> None:
        for name, until in list(self._asleep.items()):
            if time.monotonic() > until:
                self._crew.signal(name, signal.SIGCONT)
                del self._asleep[name]

    def _restart(self, server: str) -> None:
        if self._servers is not None:
            self._servers.kill(server) if server == "valkey" else self._servers.stop(server)
            self._servers.up(server)

    def _trouble(self, trouble: Trouble) -> None:
        if self._proxy is not None:
            self._proxy.order(replace(trouble, ends_at=time.monotonic() + _TROUBLE_S))


def weather(
    storm: Storm,
    scene: Scene,
    crew: Crew,
    job_ids: list[str],
    *,
    say: Callable[[str], None],
    every_s: float = 1.0,
    at_most: int | None = None,
) -> StormResult:
    """Blow every `every_s` until every job has ended, `at_most` so often; then the ledger."""
    reported = StormResult(num_jobs=len(job_ids))
    began = last_said = time.monotonic()
    while (left := scene.num_unfinished()) and time.monotonic() - began < GIVE_UP_S:
        if at_most is None or sum(storm.faults.values()) < at_most:
            storm.blow()
        else:
            storm.end()
        crew.keep()
        if time.monotonic() - last_said > 30:
            last_said = time.monotonic()
            say(f"{left} of {len(job_ids)} jobs are not done; {sum(storm.faults.values())} faults so far")
        time.sleep(every_s)
    reported.took_s = time.monotonic() - began
    reported.faults = storm.faults
    storm.end()
    crew.stop()
    _count(reported, scene, job_ids)
    reported.violations = scene.check_ledger().violations
    return reported


def _count(reported: StormResult, scene: Scene, job_ids: list[str]) -> None:
    digests = set()
    for job_id in job_ids:
        job = scene.job(job_id)
        reported.states[job.state.value] += 1
        reported.num_attempts += job.attempt
        reported.doubled += max(0, sum(event.type == "succeeded" for event in scene.events(job_id)) - 1)
        if job.state is JobState.SUCCEEDED and job.kind is JobKind.SANITIZE:
            digests.add(scene.digests(job_id)[WEIGHTS])
    reported.weights_differ = max(0, len(digests) - 1)


def one_storm(place: Place, *, num_jobs: int, seed: int) -> dict[str, Any]:
    """On a stack of its own, so that storms can be run one by one."""
    with (
        embedded(place.folder / f"storm-{seed}") as (scene, stack),
        closing(StoreProxy(str(scene.settings.storage.endpoint_url))) as proxy,
    ):
        scene.variables["CLEANCLIP_STORAGE__ENDPOINT_URL"] = proxy.url
        Stage.ready(scene, place)
        job_ids = [scene.order(recipe=RECIPE) for _ in range(num_jobs)]
        with Crew(scene.variables, scene.folder / "crew") as crew:
            crew.start(NUM_WORKERS)
            reported = weather(Storm(scene, crew, stack, proxy, seed), scene, crew, job_ids, say=place.say)
    return dict(vars(reported))


def row_of(reported: Mapping[str, Any], seed: int) -> Row:
    """One storm as a row."""
    num_jobs, states = reported["num_jobs"], reported["states"]
    num_faults = sum(reported["faults"].values())
    happened = (
        f"{states} after {reported['num_attempts']} attempts in {reported['took_s']:.0f} s; "
        f"{num_faults} faults: "
        + ", ".join(f"{name} {times}" for name, times in sorted(reported["faults"].items()))
        + f"; ledger: {len(reported['violations'])} violations"
    )
    lost = num_jobs - states.get("succeeded", 0)
    is_ok = not (lost or any(reported[what] for what in ("doubled", "weights_differ", "violations")))
    return Row(
        broken=f"{num_jobs} jobs, {NUM_WORKERS} workers, a fault a second (seed {seed})",
        times=num_faults,
        expected="all succeed, once, with the same weights",
        happened="; ".join([happened, *reported["violations"][:3]]),
        lost=lost,
        doubled=reported["doubled"],
        ok=is_ok,
    )


def run(place: Place, *, quick: bool) -> list[Row]:
    num_jobs, num_storms = (12, 1) if quick else (200, 3)
    rows = []
    for seed in range(place.seed, place.seed + num_storms):
        place.say(f"storm with seed {seed} over {num_jobs} jobs")
        work = partial(one_storm, place, num_jobs=num_jobs, seed=seed)
        rows += [row_of(reported, seed) for reported in place.pieces({f"storm {seed}": work})]
    return rows
