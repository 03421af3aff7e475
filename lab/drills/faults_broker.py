"""Valkey killed, restarted, emptied; a hint delivered twice, never, late, for a job that does not exist."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from lab.drills.crew import Crew
from lab.drills.faults_ground import Case, Checks, Ground, Group, Groups
from lab.drills.runs import WEIGHTS, Broken
from lab.drills.scene import wait_for
from lab.drills.servers import empty_broker

_PATIENCE_S = 150.0


def _job_through_celery(ground: Ground, hint: Callable[[str, Crew], object]) -> Broken:
    """One worker and one sweeper as processes; `hint` does what happens between order and end."""
    scene, checks = ground.scene, Checks()
    crew = Crew(ground.stage.variables, scene.folder / f"crew-{new_id('job')}")
    crew.start(1)
    try:
        job_id = scene.order(max_attempts=3)
        hint(job_id, crew)
        told_at = time.time()
        wait_for(lambda: ground.stage.has_ended(job_id), _PATIENCE_S, "the job ends")
        job = scene.job(job_id)
        checks.that(job.state is JobState.SUCCEEDED, f"it ended {job.state}")
        checks.that(job.attempts_used == 1, f"{job.attempts_used} attempts were counted")
        digest = scene.digests(job_id).get(WEIGHTS)
        checks.that(digest == ground.undisturbed.weights_sha256, "other weights than the undisturbed run")
        if job.finished_at is not None:
            checks.found.recovery_s = max(0.0, job.finished_at.timestamp() - told_at)
        checks.found.doubled = sum(e.type == "succeeded" for e in scene.events(job_id)) - 1
        checks.found.lost = int(job.state is not JobState.SUCCEEDED)
    finally:
        crew.stop()
    checks.found.faults += scene.check_ledger().violations
    return checks.found


def _is_running(ground: Ground, job_id: str) -> bool:
    return ground.scene.job(job_id).state is JobState.RUNNING


def _broker(ground: Ground) -> Mapping[str, Case]:
    scene, servers = ground.scene, ground.servers

    def while_it_runs(job_id: str, do: Callable[[], object]) -> None:
        scene.publisher.job_ready(job_id, JobKind.SANITIZE)
        wait_for(lambda: _is_running(ground, job_id), _PATIENCE_S, "a worker takes the job")
        do()

    def emptied_before(job_id: str, _crew: Crew) -> None:
        scene.publisher.job_ready(job_id, JobKind.SANITIZE)
        empty_broker(scene.settings.broker.url)

    cases: dict[str, Case] = {"emptied": lambda: _job_through_celery(ground, emptied_before)}
    if servers is None:
        return cases

    def restarted(killed: bool) -> Callable[[str, Crew], None]:
        def away() -> None:
            with servers.away("valkey", 3.0, killed=killed):
                pass

        return lambda job_id, _crew: while_it_runs(job_id, away)

    def away_before(job_id: str, _crew: Crew) -> None:
        with servers.away("valkey", 4.0, killed=True):
            scene.publisher.job_ready(job_id, JobKind.SANITIZE)

    more: dict[str, Case] = {
        "killed while a job runs": lambda: _job_through_celery(ground, restarted(True)),
        "restarted while a job runs": lambda: _job_through_celery(ground, restarted(False)),
        "away when the job is ordered": lambda: _job_through_celery(ground, away_before),
    }
    return cases | (dict(list(more.items())[:1]) if ground.quick else more)


def _hints(ground: Ground) -> Mapping[str, Case]:
    scene = ground.scene

    def ready(job_id: str) -> None:
        scene.publisher.job_ready(job_id, JobKind.SANITIZE)

    def twice(job_id: str, _crew: Crew) -> None:
        for _ in range(2):
            ready(job_id)

    def late(job_id: str, _crew: Crew) -> None:
        wait_for(lambda: ground.stage.has_ended(job_id), _PATIENCE_S, "the job ends by the sweeper's hint")
        ready(job_id)
        time.sleep(1.0)

    def for_nobody(job_id: str, _crew: Crew) -> None:
        ready(new_id("job"))
        ready("not even an id")
        ready(job_id)

    cases: dict[str, Case] = {
        "twice": lambda: _job_through_celery(ground, twice),
        "for a job that does not exist": lambda: _job_through_celery(ground, for_nobody),
        "late, after the job has ended": lambda: _job_through_celery(ground, late),
        "never: the sweeper finds the job": lambda: _job_through_celery(ground, lambda *_: None),
    }
    return dict(list(cases.items())[:1]) if ground.quick else cases


_EXPECTED = "the job succeeds, once, in one attempt, with the weights of an undisturbed run"
GROUPS: Groups = (
    Group(broken="Valkey killed, restarted, emptied", expected=_EXPECTED, cases=_broker),
    Group(broken="hints delivered twice, never, late, for no job", expected=_EXPECTED, cases=_hints),
)
