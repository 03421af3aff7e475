"""The worker's machine: disk full, memory limit hit, clock wrong by hours; two sweepers; a poison pill."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from lab.drills import worker_of_other_child
from lab.drills.crew import Crew
from lab.drills.faults_ground import Case, Ground, Group, Groups
from lab.drills.runs import Broken, at_the_gate, gate, release
from lab.drills.scene import wait_for

MIB = 1024 * 1024
_SMALL_DISK_BYTES, _ROOM_AT_FIRST_BYTES = 16 * MIB, 330 * MIB
_TIGHT_MEMORY_BYTES = 600 * MIB
_HOURS_WRONG = 5
_POISON_SEED = 666
_POISON = Path(__file__).with_name("poison_child.py")
_PATIENCE_S = 240.0


def _broken_attempt(ground: Ground, codes: set[str], break_it: Any = None, **orders: Any) -> Broken:
    """One attempt on a bad machine, which must end with one of `codes`; the next is on a good one."""
    found = ground.stage.broken_by(ground.undisturbed, break_it, **orders)
    events = ground.scene.events(found.facts["job_id"])
    reported = [event.data["error"]["code"] for event in events if event.type == "attempt_failed"]
    found.facts["reported"] = reported
    if len(reported) != 1 or reported[0] not in codes:
        found.faults.append(f"the attempt was said to have failed with {reported}, not {sorted(codes)}")
    return found


def _disk(ground: Ground) -> Mapping[str, Case]:
    def fill(process: ForkServerProcess, folder: Path) -> None:
        """Through the worker's own root, where the small disk is mounted."""
        if at_the_gate(folder, process):
            ballast = Path(f"/proc/{process.pid}/root{folder / 'work'}") / "ballast"
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(MIB // 4))
        release(folder)

    held = gate("commit heartbeat in finetune #1", "after", "hold")
    cases: dict[str, Case] = {
        "full while training": partial(
            _broken_attempt, ground, {"disk_full"}, fill, gate=held, disk_bytes=_ROOM_AT_FIRST_BYTES
        ),
        "too small from the start": partial(
            _broken_attempt, ground, {"disk_full"}, disk_bytes=_SMALL_DISK_BYTES
        ),
    }
    return dict(list(cases.items())[:1]) if ground.quick else cases


def _memory(ground: Ground) -> Mapping[str, Case]:
    """A job that is too large for the limit would be so again: it fails, and its customer may retry it."""
    stage = ground.stage

    def tight() -> Broken:
        job_id = stage.scene.order()
        process, folder = stage.start(job_id, memory_bytes=_TIGHT_MEMORY_BYTES)
        process.join(_PATIENCE_S)
        job = stage.scene.job(job_id)
        state, code = job.state, (job.error or {}).get("code")
        with stage.scene.hands.unit_of_work() as unit:
            unit.jobs.retry(stage.scene.project_id, job_id)
        found = stage.judge(ground.undisturbed, job_id, folder, time.time(), process.exitcode)
        if (state, code) != (JobState.FAILED, "out_of_memory"):
            found.faults.append(f"under the limit it ended {state}: {code}")
        return found

    return {f"{_TIGHT_MEMORY_BYTES // MIB} MiB": tight}


def _clock(ground: Ground) -> Mapping[str, Case]:
    def wrong(hours: float) -> Broken:
        return _broken_attempt(ground, {"worker_clock_wrong"}, clock_offset_s=hours * 3600)

    hours = (_HOURS_WRONG,) if ground.quick else (_HOURS_WRONG, -_HOURS_WRONG)
    return {f"{h:+d} h": partial(wrong, h) for h in hours}


def _sweepers(ground: Ground) -> Mapping[str, Case]:
    def two() -> Broken:
        after = gate("commit heartbeat in finetune #2", "after")
        with Crew(ground.stage.variables, ground.scene.folder / f"crew-{new_id('job')}") as crew:
            crew.start(0, num_sweepers=2)
            found = ground.stage.broken_by(ground.undisturbed, gate=after)
        events = ground.scene.events(found.facts["job_id"])
        released = sum(event.type == "lease_expired" for event in events)
        if released > 1:
            found.faults.append(f"one lost lease was taken back {released} times")
        return found

    return {"two sweepers": two}


def _poison(ground: Ground) -> Mapping[str, Case]:
    scene = ground.scene

    def pill() -> Broken:
        found = Broken()
        command = [sys.executable, "-I", "-S", str(_POISON), str(_POISON_SEED)]
        command += [sys.executable, "-m", "sanitizer", "run"]
        environment = {**ground.stage.variables, worker_of_other_child.VARIABLE: json.dumps(command)}
        attempts = 2 if ground.quick else 3
        poison = scene.order(seed=_POISON_SEED, max_attempts=attempts)
        others = [scene.order() for _ in range(2)]
        for job_id in (poison, *others):
            scene.publisher.job_ready(job_id, JobKind.SANITIZE)
        began = time.time()
        folder, app = scene.folder / f"crew-{new_id('job')}", "lab.drills.worker_of_other_child"
        with Crew(environment, folder, app=app) as crew:
            crew.start(1)
            for job_id in (*others, poison):
                wait_for(partial(ground.stage.has_ended, job_id), _PATIENCE_S, "the job ends")
        job = scene.job(poison)
        found.that(job.state is JobState.FAILED, f"the pill ended {job.state}")
        found.that(job.attempts_used == attempts, f"the pill used {job.attempts_used} attempts")
        tail = str((job.error or {}).get("log_tail"))
        found.that("kills whoever touches it" in tail, "the pill's last words are not on its row")
        for job_id in others:
            ground.stage.compare(found, ground.undisturbed, job_id, began)
        found.faults += scene.check_ledger().violations
        return found

    return {"child dies each time": pill}


_THEN = "; then the job succeeds on a good machine, once, with the weights of an undisturbed run"
GROUPS: Groups = (
    Group(broken="disk full in the job's folder", expected="reported as disk_full" + _THEN, cases=_disk),
    Group(
        broken="memory limit hit",
        expected="failed, reported as out_of_memory; retried by its customer under a higher limit it "
        "succeeds, once, with the weights of an undisturbed run",
        cases=_memory,
    ),
    Group(
        broken="a worker's clock wrong by hours (Python's wall clock and the clock that signs requests)",
        expected="leases go by the database's clock; the store does not believe what such a worker signs: "
        "reported as worker_clock_wrong" + _THEN,
        cases=_clock,
    ),
    Group(broken="two sweepers at once", expected="a lost lease is taken back once", cases=_sweepers),
    Group(
        broken="a poison pill: a job that kills its child each time",
        expected="it fails after max_attempts, its last words on the row; its neighbours are not held up",
        cases=_poison,
    ),
)
