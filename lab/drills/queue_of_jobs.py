"""The queue: ten thousand jobs whose model work is a STUB (lab/drills/stub_child.py); none may be lost.

Claims, leases, hints, staging, publishing and the ledger are the real ones, by four Celery workers with a
sweeper; only the model is not there. A worker is killed every few seconds, and every hint is sent twice.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from app.domain.states import JobKind
from app.ledger import check as ledger
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from lab.drills import worker_of_other_child
from lab.drills.crew import Crew
from lab.drills.drill import Place, Row
from lab.drills.runs import Stage
from lab.drills.scene import AT_ONCE, Scene, embedded
from lab.drills.servers import plain_url

NAME = "queue"
TITLE = "Ten thousand jobs with a stub for a model"
NUM_JOBS, NUM_JOBS_QUICK = 10_000, 200
NUM_WORKERS = 4
KILL_EVERY_S = 10.0
GIVE_UP_S = 3 * 3600.0
STUB = Path(__file__).with_name("stub_child.py")
_TIMES = """SELECT count(*) AS num, sum(attempt) AS attempts,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) AS wait_p50_s,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)) AS wait_p99_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at)) AS run_p50_s,
    extract(epoch FROM max(finished_at) - min(created_at)) AS span_s
    FROM jobs WHERE kind = 'audit' AND id <> %s"""


def run(place: Place, *, quick: bool) -> list[Row]:
    num_jobs = NUM_JOBS_QUICK if quick else NUM_JOBS
    reported = place.piece("jobs", partial(many_jobs, place, num_jobs=num_jobs))
    return [row_of(reported)]


def many_jobs(place: Place, *, num_jobs: int) -> dict[str, Any]:
    with embedded(place.folder / "scene") as (scene, _stack):
        stage = Stage.ready(scene, place)
        first = scene.order(JobKind.AUDIT)
        stage.finish(first)
        child = [sys.executable, "-I", "-S", str(STUB), _report(scene, first), REPORT_HTML_HEAD]
        environment = {**scene.variables, worker_of_other_child.VARIABLE: json.dumps(child)}
        began = time.monotonic()
        with Crew(environment, scene.folder / "crew", app="lab.drills.worker_of_other_child") as crew:
            crew.start(NUM_WORKERS)
            num_kills = _order_and_wait(place, scene, crew, num_jobs)
        took_s = time.monotonic() - began
        times = _times(scene, first)
        states = _states(scene)
        place.say("all done; now the ledger")
        checked = _swept_ledger(scene)
    return {
        "num_jobs": num_jobs,
        "num_kills": num_kills,
        "took_s": took_s,
        "states": states,
        **times,
        "doubled": _doubled(checked),
        "violations": list(checked.violations[:20]),
        "ledger": checked.summary,
    }


def _order_and_wait(place: Place, scene: Scene, crew: Crew, num_jobs: int) -> int:
    """Order everything, hint twice, kill now and then, until all is done; how many workers were killed."""
    chance = random.Random(place.seed)
    for number in range(num_jobs):
        job_id = scene.order(JobKind.AUDIT, seed=number % 2**31)
        for _ in range(2):
            scene.publisher.job_ready(job_id, JobKind.AUDIT)
    place.say(f"{num_jobs} jobs ordered")
    num_kills = 0
    began = killed_at = said_at = time.monotonic()
    while (left := scene.num_unfinished()) and time.monotonic() - began < GIVE_UP_S:
        now = time.monotonic()
        if now - killed_at > KILL_EVERY_S:
            killed_at, num_kills = now, num_kills + 1
            crew.signal(chance.choice(crew.workers), signal.SIGKILL)
        if now - said_at > 60.0:
            said_at = now
            place.say(f"{left} are not done")
        crew.keep()
        time.sleep(0.5)
    return num_kills


def _report(scene: Scene, job_id: str) -> str:
    """The report that the real child wrote, for the stub to hand in."""
    with scene.hands.unit_of_work() as unit:
        rows = {row.name: row for row in unit.artifacts.of_job(scene.project_id, job_id)}
    body = scene.store.read_bytes(rows["report.json"].object_key, max_bytes=1024 * 1024)
    return json.dumps(json.loads(body), separators=(",", ":"))


def _times(scene: Scene, first: str) -> dict[str, float]:
    with psycopg.connect(plain_url(scene.settings.database.url)) as connection:
        connection.execute(f"SET ROLE {ledger.READER_ROLE}")
        cursor = connection.execute(_TIMES, [first])
        names = [column.name for column in cursor.description or ()]
        row = cursor.fetchone() or ()
    return {name: float(value) for name, value in zip(names, row, strict=True)}


def _states(scene: Scene) -> dict[str, int]:
    with scene.hands.unit_of_work() as unit:
        counts = unit.jobs.num_by_state()
    found: Counter[str] = Counter()
    for (kind, state), number in counts.items():
        if kind == JobKind.AUDIT.value:
            found[state] += number
    return dict(found)


def _swept_ledger(scene: Scene) -> ledger.Ledger:
    """A sweep takes a hundred jobs' leftovers at a time."""
    for _ in range(NUM_JOBS // 100 + 5):
        scene.sweep(AT_ONCE)
    return scene.check_ledger()


def _doubled(checked: ledger.Ledger) -> int:
    return sum(" succeeded " in sentence and " times." in sentence for sentence in checked.violations)


def row_of(reported: dict[str, Any]) -> Row:
    """The drill's one row."""
    num_jobs = reported["num_jobs"]
    lost = num_jobs + 1 - reported["states"].get("succeeded", 0)  # and the one that the real child did
    happened = (
        f"{reported['states']}; {num_jobs / reported['span_s']:.1f} jobs/s over {reported['span_s']:.0f} s; "
        f"waited {reported['wait_p50_s']:.0f} s (median) and {reported['wait_p99_s']:.0f} s (p99), ran "
        f"{reported['run_p50_s']:.2f} s; "
        f"{reported['attempts']:.0f} attempts; {reported['ledger']}"
    )
    return Row(
        broken=f"{num_jobs} stub jobs, {NUM_WORKERS} workers, each hint twice, a worker killed every 10 s",
        times=reported["num_kills"],
        expected="0 lost, 0 doubled",
        happened="; ".join([happened, *reported["violations"][:3]]),
        lost=lost,
        doubled=reported["doubled"],
        ok=lost == 0 and not reported["doubled"] and not reported["violations"],
    )
