"""The servers broken: Valkey (killed, emptied; hints twice, never, late, for no job), PostgreSQL (restarted
or cut off within each transaction, failing over), the object store (500, 503, slow, cut, wrong bytes).

A job whose transaction is broken may fail over to another attempt: what counts is that it ends well, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from lab.drills.crew import Crew
from lab.drills.faults_ground import Case, Ground, Group, Groups
from lab.drills.proxy import Trouble
from lab.drills.runs import Broken
from lab.drills.scene import wait_for
from lab.drills.servers import cut_connections, empty_broker

_PATIENCE_S = 150.0


def _job_through_celery(ground: Ground, hint: Callable[[str, Crew], object]) -> Broken:
    """One worker and one sweeper as processes; `hint` does what happens between order and end."""
    scene, found = ground.scene, Broken()
    with Crew(ground.stage.variables, scene.folder / f"crew-{new_id('job')}") as crew:
        crew.start(1)
        job_id = scene.order(max_attempts=3)
        hint(job_id, crew)
        hinted_at = time.time()
        wait_for(lambda: ground.stage.has_ended(job_id), _PATIENCE_S, "the job ends")
        job = ground.stage.compare(found, ground.undisturbed, job_id, hinted_at)
        found.that(job.attempts_used == 1, f"{job.attempts_used} attempts were counted")
    found.faults += scene.check_ledger().violations
    return found


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


_FAIL_OVER_S, _QUICK_FAIL_OVER_S = 60.0, 10.0
_QUICK = ("commit finish_succeeded #1",)


def _commits(ground: Ground) -> list[str]:
    """The first of each kind of transaction that a job makes."""
    found = [w for w in ground.undisturbed.writes if w.startswith("commit ") and w.endswith("#1")]
    return [write for write in found if write in _QUICK] if ground.quick else found


def _cut(ground: Ground) -> Mapping[str, Case]:
    cut = partial(cut_connections, ground.scene.settings.database.url)
    return {f"cut in {write}": partial(ground.at, write, "before", cut) for write in _commits(ground)}


def _restarted(ground: Ground) -> Mapping[str, Case]:
    servers = ground.servers
    if servers is None:
        return {}

    def restart() -> None:
        servers.stop("postgres")
        servers.up("postgres")

    return {f"restarted in {w}": partial(ground.at, w, "before", restart) for w in _commits(ground)}


def _failed_over(ground: Ground) -> Mapping[str, Case]:
    servers = ground.servers
    if servers is None:
        return {}
    seconds = _QUICK_FAIL_OVER_S if ground.quick else _FAIL_OVER_S

    def away() -> None:
        with servers.away("postgres", seconds):
            time.sleep(0.1)

    writes = ["commit heartbeat in finetune #2"]
    if not ground.quick:
        writes += ["commit claim #1", "commit finish_succeeded #1"]
    return {f"away {seconds:.0f} s in {w}": partial(ground.at, w, "before", away) for w in writes}


_TIMES = 6  # more than one request's own tries


def _with_trouble(ground: Ground, trouble: Trouble) -> Broken:
    ground.proxy.order(trouble)
    before = ground.proxy.num_troubles
    try:
        found = ground.stage.broken_by(ground.undisturbed)
    finally:
        ground.proxy.calm()
    happened = ground.proxy.num_troubles - before
    found.reached = happened > 0
    found.facts["requests_troubled"] = happened
    if found.facts.get("attempts_used") != 1:
        found.faults.append(f"{found.facts.get('attempts_used')} attempts were counted")
    return found


def _each(ground: Ground, troubles: Mapping[str, Trouble], quick: Collection[str]) -> Mapping[str, Case]:
    """A case for each trouble; a quick drill has those of `quick`."""
    chosen = {name: one for name, one in troubles.items() if name in quick or not ground.quick}
    return {name: partial(_with_trouble, ground, trouble) for name, trouble in chosen.items()}


def _reading(ground: Ground) -> Mapping[str, Case]:
    troubles = {
        "500 while staging": Trouble(kind="500", times=_TIMES, method="GET"),
        "503 while staging": Trouble(kind="503", times=_TIMES, method="GET"),
        "slow while staging": Trouble(kind="slow", times=4, method="GET", delay_s=1.5),
        "a body cut short": Trouble(kind="cut", times=2, method="GET"),
        "a wrong body": Trouble(kind="wrong", times=2, method="GET", part="model.safetensors"),
        "connections dropped": Trouble(kind="drop", times=4, method="GET"),
    }
    return _each(ground, troubles, quick=("503 while staging", "a body cut short", "a wrong body"))


def _writing(ground: Ground) -> Mapping[str, Case]:
    troubles = {
        "500 to training states": Trouble(kind="500", times=_TIMES, method="PUT", part="states/"),
        "503 to outputs": Trouble(kind="503", times=_TIMES, method="PUT", part="outputs/"),
        "slow to outputs": Trouble(kind="slow", times=3, method="PUT", part="outputs/", delay_s=1.5),
        "outputs stored, the answer lost": Trouble(kind="cut", times=2, method="HEAD", part="outputs/"),
        "connections dropped under outputs": Trouble(kind="drop", times=4, method="PUT", part="outputs/"),
    }
    return _each(ground, troubles, quick=("503 to outputs",))


_ONCE = "the job succeeds, once, with the weights of an undisturbed run"
_IN_ONE_ATTEMPT = _ONCE.replace("once,", "once, in one attempt,")
_IN_THE_SAME_ATTEMPT = "the job succeeds in the same attempt, with the weights of an undisturbed run"
GROUPS: Groups = (
    Group(broken="Valkey killed, restarted, emptied", expected=_IN_ONE_ATTEMPT, cases=_broker),
    Group(broken="hints delivered twice, never, late, for no job", expected=_IN_ONE_ATTEMPT, cases=_hints),
    Group(
        broken="connections to PostgreSQL cut in the middle of each transaction",
        expected=_ONCE,
        cases=_cut,
    ),
    Group(broken="PostgreSQL restarted in the middle of each transaction", expected=_ONCE, cases=_restarted),
    Group(
        broken="PostgreSQL failing over (stopped, 60 s later up; quick: 10 s), longer than the lease",
        expected=_ONCE,
        cases=_failed_over,
    ),
    Group(
        broken="object store, reading: 500, 503, slow, cut short, wrong bytes, dropped",
        expected=_IN_THE_SAME_ATTEMPT,
        cases=_reading,
    ),
    Group(
        broken="object store, writing: 500, 503, slow, answers lost, dropped",
        expected=_IN_THE_SAME_ATTEMPT,
        cases=_writing,
    ),
)
