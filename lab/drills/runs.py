"""One job under a drill: broken once, then brought to its end by fresh workers, and judged.

What is judged is always the same: it ends succeeded, once, with the weights of an undisturbed run, no more
of the training was done twice than lies between two saves (and what was done while a save was on its way),
no process is left, and the ledger is clean.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from app.db.models.job import Job
from app.domain.states import JobState
from lab.drills.breaking import Gate, read_log
from lab.drills.drill import Place
from lab.drills.processes import processes_in
from lab.drills.scene import Scene, wait_for
from lab.drills.worker_entry import Orders, Workers

PATIENCE_S = 120.0
WEIGHTS = "model.safetensors"
_STATE_KEY = re.compile(r"states/.*/step-(\d+)/")
_RESUMED = re.compile(r"saved at step (\d+)")


@dataclass
class Broken:
    """What a judged job did, as JSON for a piece."""

    faults: list[str] = field(default_factory=list)
    reached: bool = True
    recovery_s: float = 0.0
    steps_twice: int = 0
    interval: int = 0
    doubled: int = 0
    lost: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def that(self, is_so: object, otherwise: str) -> None:
        """A fault, in a sentence, where it is not so."""
        if not is_so:
            self.faults.append(otherwise)

    def reported(self, what: str, say: Callable[[str], None]) -> dict[str, Any]:
        """As a piece, once it was said."""
        say(f"{what}: {'; '.join(self.faults) or ('as promised' if self.reached else 'did not come there')}")
        return self.__dict__ | {"ok": not self.faults}


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """How the job goes when nobody breaks anything."""

    weights_sha256: str
    writes: tuple[str, ...]


class Stage:
    """A scene with workers that can be broken. One job is queued at a time."""

    def __init__(self, scene: Scene, workers: Workers) -> None:
        self.scene = scene
        self.workers = workers
        self.variables = scene.variables
        self._num_runs = 0

    @classmethod
    def ready(cls, scene: Scene, place: Place) -> Stage:
        """On a scene that has its files by then."""
        stage = cls(scene, Workers(scene.variables))
        scene.prepare(stage.finish, place.folder / "subject")
        return stage

    def start(self, job_id: str, **orders: Any) -> tuple[ForkServerProcess, Path]:
        """A worker at work on the job, and its folder."""
        self._num_runs += 1
        folder = self.scene.folder / "runs" / f"{self._num_runs:05d}"
        return self.workers.start(Orders(job_id=job_id, folder=folder, **orders)), folder

    def finish(self, job_id: str, timeout_s: float = PATIENCE_S, **orders: Any) -> list[Path]:
        """Fresh workers, as often as the job may be claimed, until it has ended; their folders."""
        folders = []
        deadline = time.monotonic() + timeout_s
        while not self.has_ended(job_id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} has not ended: {self.scene.job(job_id).state}")
            if self._is_claimable(job_id):
                process, folder = self.start(job_id, **orders)
                folders.append(folder)
                process.join(max(1.0, deadline - time.monotonic()))
            else:
                time.sleep(0.05)
        return folders

    def has_ended(self, job_id: str) -> bool:
        return self.scene.job(job_id).state in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}

    def _is_claimable(self, job_id: str) -> bool:
        job = self.scene.job(job_id)
        now = time.time()
        is_due = job.not_before is None or job.not_before.timestamp() <= now
        is_free = job.lease_expires_at is None or job.lease_expires_at.timestamp() < now
        return is_due and is_free

    def undisturbed(self, times: int = 2) -> Undisturbed:
        """Runs must agree with each other, or nothing can be compared with them."""
        digests, logs = set(), []
        for _ in range(times):
            job_id = self.scene.order()
            (folder,) = self.finish(job_id)
            if self.scene.job(job_id).state is not JobState.SUCCEEDED:
                raise RuntimeError(f"an undisturbed job did not succeed: {self.scene.job(job_id).error}")
            digests.add(self.scene.digests(job_id)[WEIGHTS])
            logs.append(read_log(folder / "writes.log"))
        if len(digests) != 1:
            raise RuntimeError("undisturbed runs gave different weights")
        names = dict.fromkeys(line["write"] for log in logs for line in log)
        return Undisturbed(weights_sha256=digests.pop(), writes=tuple(names))

    def broken_by(
        self,
        undisturbed: Undisturbed,
        break_it: Callable[[ForkServerProcess, Path], None] | None = None,
        **orders: Any,
    ) -> Broken:
        """Order a job, let it be broken (by its gate, its shim, or `break_it`), finish and judge it."""
        job_id = self.scene.order()
        process, folder = self.start(job_id, **orders)
        if break_it is not None:
            break_it(process, folder)
        process.join(PATIENCE_S)
        broken_at = time.time()
        exit_code = process.exitcode
        wait_for(lambda: not processes_in(folder), 10.0, "processes of a dead worker are gone")
        return self.judge(undisturbed, job_id, folder, broken_at, exit_code)

    def judge(
        self, undisturbed: Undisturbed, job_id: str, first: Path, broken_at: float, exit_code: int | None
    ) -> Broken:
        """Bring the job to its end and compare."""
        found = Broken(facts={"exit_code": exit_code, "job_id": job_id})
        folders = [first, *self.finish(job_id)]
        job = self.compare(found, undisturbed, job_id, broken_at)
        if not found.lost:
            events = self.scene.events(job_id)
            self._count_twice(found, folders, [event.data for event in events if event.type == "noted"])
            found.facts |= {"attempts": job.attempt, "attempts_used": job.attempts_used}
            found.faults += self.scene.check_ledger().violations
        return found

    def compare(self, found: Broken, undisturbed: Undisturbed, job_id: str, since: float) -> Job:
        """Note of a job that has ended whether it succeeded, once, as undisturbed, and how long after
        `since`."""
        job = self.scene.job(job_id)
        if job.state is not JobState.SUCCEEDED:
            found.lost += 1
            found.faults.append(f"{job_id} ended {job.state}: {(job.error or {}).get('code')}")
            return job
        if job.finished_at is not None:
            found.recovery_s = max(found.recovery_s, job.finished_at.timestamp() - since)
        is_same = self.scene.digests(job_id)[WEIGHTS] == undisturbed.weights_sha256
        found.that(is_same, f"{job_id} has other weights than the undisturbed run")
        found.doubled += sum(event.type == "succeeded" for event in self.scene.events(job_id)) - 1
        return job

    def _count_twice(self, found: Broken, folders: list[Path], notes: list[Mapping[str, Any]]) -> None:
        """Steps that the first attempt did after the state that the next one went on from.

        A state counts once its last byte is at the store: where one was on its way, the steps done
        meanwhile come on top of the interval between two saves.
        """
        logs = [read_log(folder / "writes.log") for folder in folders]
        steps = [_steps_done(log) for log in logs]
        saves = [sorted({0, *_saved_steps(log)}) for log in logs]
        gaps = [after - before for saved in saves for before, after in itertools.pairwise(saved)]
        resumed = [int(match[1]) for note in notes if (match := _RESUMED.search(str(note.get("message"))))]
        found.interval = max(gaps, default=0)
        went_on_from = resumed[0] if resumed else 0
        if len(folders) > 1:
            found.steps_twice = max(0, steps[0] - went_on_from)
        on_its_way = max(0, steps[0] - saves[0][-1]) if saves[0][-1] > went_on_from else 0
        if found.interval and found.steps_twice > found.interval + on_its_way + _steps_of_a_beat(logs[0]):
            found.faults.append(f"{found.steps_twice} steps done twice; a save comes every {found.interval}")


def _steps_done(log: list[dict[str, Any]]) -> int:
    return max((line.get("step") or 0 for line in log if "in finetune" in line["write"]), default=0)


def _steps_of_a_beat(log: list[dict[str, Any]]) -> int:
    """How far training gets between two words of the supervisor: what is known of it is so old."""
    steps = [line["step"] for line in log if "in finetune" in line["write"] and line.get("step")]
    return max((after - before for before, after in itertools.pairwise(steps)), default=0)


def _saved_steps(log: list[dict[str, Any]]) -> list[int]:
    return [int(match[1]) for line in log if (match := _STATE_KEY.match(str(line.get("key"))))]


def at_the_gate(folder: Path, process: ForkServerProcess, timeout_s: float = PATIENCE_S) -> bool:
    """Wait until the worker stands at its gate; False if it ended without having come there."""
    deadline = time.monotonic() + timeout_s
    while not (folder / "at-the-gate").exists():
        if process.exitcode is not None or time.monotonic() > deadline:
            return (folder / "at-the-gate").exists()
        time.sleep(0.005)
    return True


def release(folder: Path) -> None:
    (folder / "released").touch()


def send(process: ForkServerProcess, number: signal.Signals) -> None:
    if process.pid is not None:
        os.kill(process.pid, number)


def gate(write: str, side: str, action: str = "kill") -> Gate:
    return Gate(write=write, side="before" if side == "before" else "after", action=action)  # type: ignore[arg-type]
