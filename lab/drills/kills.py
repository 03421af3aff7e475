"""Kills: SIGKILL before and after every write of the supervisor, of the child at every phase, of both;
SIGTERM at every phase; SIGSTOP past the lease and SIGCONT.

A write is everything that changes the database or the object store, found by an undisturbed run. Real
tiny CLIP, real child, saves several times a second, leases of three seconds.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from app.domain.states import JobState
from lab.drills.drill import Place, Row
from lab.drills.processes import processes_in, signal_all
from lab.drills.runs import PATIENCE_S, Broken, Stage, Undisturbed, at_the_gate, gate, release, send
from lab.drills.scene import embedded, wait_for

NAME = "kills"
TITLE = "Killed, told to leave, put to sleep"
REPEATED = ("states/", "record_state", "in finetune")
"""Writes of these names come again and again in one job: their second time is broken, too."""
LEAVE_WITHIN_S = 20.0
QUICK_WRITES = ("commit claim #1", "put states/weights.safetensors #2", "commit finish_succeeded #1")
PHASES = {
    "stage": "commit claim #1",
    "baseline audit": "commit heartbeat in baseline_audit #1",
    "finetune": "commit heartbeat in finetune #3",
    "final audit": "commit heartbeat in final_audit #1",
    "publish": "put outputs/report.json #1",
}
CHILD_KILLS: dict[str, dict[str, Any]] = {
    "at the start of the baseline audit": {"at": {"type": "phase_started", "phase": "baseline_audit"}},
    "in finetune, before the second save": {"at": {"type": "advanced", "phase": "finetune"}},
    "in the middle of the first save": {"within_save": 1},
    "in the middle of the third save": {"within_save": 3},
    "right after the second save": {"at": {"type": "state_saved"}, "number": 2},
    "at the start of the final audit": {"at": {"type": "phase_started", "phase": "final_audit"}},
}


def run(place: Place, *, quick: bool) -> list[Row]:
    with embedded(place.folder / "scene") as (scene, _):
        stage = Stage.ready(scene, place)
        undisturbed = stage.undisturbed()
        place.say(f"an undisturbed job makes {len(undisturbed.writes)} kinds of writes")
        return all_kills(place, stage, undisturbed, quick=quick)


def all_kills(place: Place, stage: Stage, undisturbed: Undisturbed, *, quick: bool) -> list[Row]:
    """Every row, on a stage that is ready."""
    writes = [name for name in undisturbed.writes if _is_chosen(name, quick=quick)]
    phases = {"finetune": PHASES["finetune"]} if quick else PHASES
    drill = _Kills(place, stage, undisturbed)
    rows = [
        drill.child(dict(list(CHILD_KILLS.items())[2:5:2]) if quick else CHILD_KILLS),
        drill.both(phases),
        drill.terminated(phases),
        *(drill.supervisor(side, writes) for side in ("before", "after")),
        drill.put_to_sleep(writes),
    ]
    return [row for row in rows if row.times]


def _is_chosen(name: str, *, quick: bool) -> bool:
    if quick:
        return name in QUICK_WRITES
    ordinal = int(name.rpartition("#")[2])
    return ordinal == 1 or (ordinal == 2 and any(part in name for part in REPEATED))


@dataclass(frozen=True)
class _Kills:
    """A row for each method; each of its cases is a piece."""

    place: Place
    stage: Stage
    undisturbed: Undisturbed

    def supervisor(self, side: str, writes: Sequence[str]) -> Row:
        def one(write: str) -> dict[str, Any]:
            found = self.stage.broken_by(self.undisturbed, gate=gate(write, side))
            return self._judged(f"supervisor killed {side} {write}", found, found.facts["exit_code"] == -9)

        works = {f"supervisor {side} {write}": partial(one, write) for write in writes}
        return summary(f"supervisor: SIGKILL right {side} each write", self.place.pieces(works))

    def child(self, kills: dict[str, dict[str, Any]]) -> Row:
        def one(when: str, plan: dict[str, Any]) -> dict[str, Any]:
            found = self.stage.broken_by(self.undisturbed, child=plan)
            return self._judged(f"child killed {when}", found, found.facts.get("attempts", 2) > 1)

        works = {f"child {when}": partial(one, when, plan) for when, plan in kills.items()}
        return summary("child: SIGKILL " + "; ".join(kills), self.place.pieces(works))

    def both(self, phases: dict[str, str]) -> Row:
        def kill(process: ForkServerProcess, folder: Path) -> None:
            at_the_gate(folder, process)
            signal_all(processes_in(folder), signal.SIGKILL)
            process.kill()

        def one(phase: str, write: str) -> dict[str, Any]:
            found = self.stage.broken_by(self.undisturbed, kill, gate=gate(write, "after", "hold"))
            return self._judged(f"both killed in {phase}", found, found.facts["exit_code"] == -9)

        works = {f"both {phase}": partial(one, phase, write) for phase, write in phases.items()}
        return summary(
            "supervisor and child: SIGKILL at once, in " + ", ".join(phases), self.place.pieces(works)
        )

    def terminated(self, phases: dict[str, str]) -> Row:
        stage = self.stage

        def one(phase: str, write: str) -> dict[str, Any]:
            job_id = stage.scene.order()
            process, folder = stage.start(job_id, gate=gate(write, "before", "hold"))
            reached = at_the_gate(folder, process)
            asked_at = time.monotonic()
            send(process, signal.SIGTERM)
            release(folder)
            process.join(LEAVE_WITHIN_S + 10.0)
            took_s = time.monotonic() - asked_at
            job = stage.scene.job(job_id)
            used, state, resume = job.attempts_used, job.state, job.resume_state
            found = stage.judge(self.undisturbed, job_id, folder, time.time(), process.exitcode)
            if state is not JobState.QUEUED or used != 0:
                found.faults.append(f"after SIGTERM the job was {state} and {used} attempts were counted")
            if took_s > LEAVE_WITHIN_S:
                found.faults.append(f"it took {took_s:.1f} s to leave")
            if phase in ("finetune", "final audit") and resume is None:
                found.faults.append("no state was saved")
            found.recovery_s = took_s
            return self._judged(f"told to leave in {phase} ({took_s:.1f} s)", found, reached)

        works = {f"terminate {phase}": partial(one, phase, write) for phase, write in phases.items()}
        expected = "saved and handed back within 20 s, the attempt not counted; then as undisturbed"
        return summary("worker: SIGTERM in " + ", ".join(phases), self.place.pieces(works), expected)

    def put_to_sleep(self, writes: Sequence[str]) -> Row:
        """At uploads before they begin, at commits after them: an open transaction would keep the row
        locked."""
        stage = self.stage

        def one(write: str) -> dict[str, Any]:
            side = "after" if write.startswith("commit") else "before"
            job_id = stage.scene.order()
            process, folder = stage.start(job_id, gate=gate(write, side, "stop"))
            reached = at_the_gate(folder, process)
            if write.startswith("commit finish"):
                send(process, signal.SIGCONT)  # it has won already; there is nobody to be fenced off by
            found = stage.judge(self.undisturbed, job_id, folder, time.time(), None)
            before = everything(stage, job_id)
            send(process, signal.SIGCONT)
            process.join(PATIENCE_S)
            wait_for(lambda: not processes_in(folder), 10.0, "the sleeper's processes are gone")
            if changed := everything(stage, job_id) ^ before:
                found.faults.append(f"the sleeper wrote: {sorted(map(str, changed))[:4]}")
            return self._judged(f"asleep {side} {write}", found, reached)

        chosen = [w for w in writes if "finish" not in w and (w.endswith("#1") or "states/" in w)]
        broken = "worker: SIGSTOP past the lease, SIGCONT once another has finished the job"
        results = self.place.pieces({f"asleep {write}": partial(one, write) for write in chosen})
        return summary(broken, results, "the sleeper leaves no object and no row")

    def _judged(self, what: str, found: Broken, reached: bool) -> dict[str, Any]:
        found.reached = reached
        return found.reported(what, self.place.say)


def everything(stage: Stage, job_id: str) -> set[tuple[Any, ...]]:
    """All objects, as the store lists them, and the job's row and events."""
    objects = {(item.key, item.etag, item.size_bytes) for item in stage.scene.store.list_prefix("")}
    job = stage.scene.job(job_id)
    return objects | {(job.state, job.attempt, job.version, job.event_seq, job.updated_at)}


PROMISE = (
    "succeeded, once; weights bit for bit those of an undisturbed run; no more than one save interval twice"
)


def summary(broken: str, results: Sequence[dict[str, Any]], expected: str = PROMISE) -> Row:
    """One row of many pieces; a piece that never came to its gate is not counted."""
    reached = [result for result in results if result["reached"]]
    bad = [result for result in reached if not result["ok"]]
    twice = max((result["steps_twice"] for result in reached), default=0)
    interval = max((result["interval"] for result in reached), default=0)
    happened = f"as promised {len(reached) - len(bad)} of {len(reached)} times"
    if interval:
        happened += f"; at most {twice} steps done twice, saves up to {interval} steps apart"
    if len(reached) < len(results):
        happened += f"; {len(results) - len(reached)} were not reached"
    faults = sorted({fault for result in bad for fault in result["faults"]})
    return Row(
        broken=broken,
        times=len(reached),
        expected=expected,
        happened="; ".join([happened, *faults[:3]]),
        lost=sum(result["lost"] for result in reached),
        doubled=sum(result["doubled"] for result in reached),
        recovery_s=max((result["recovery_s"] for result in reached), default=None),
        ok=not bad and bool(reached),
    )
