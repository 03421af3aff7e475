"""PostgreSQL restarted in the middle of each transaction, its connections cut, failing over for a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from lab.drills.faults_ground import Case, Ground, Group, Groups
from lab.drills.runs import Broken
from lab.drills.servers import cut_connections

_FAIL_OVER_S, _QUICK_FAIL_OVER_S = 60.0, 10.0
_QUICK = ("commit finish_succeeded #1",)


def _commits(ground: Ground) -> list[str]:
    """The first of each kind of transaction that a job makes."""
    found = [w for w in ground.undisturbed.writes if w.startswith("commit ") and w.endswith("#1")]
    return [write for write in found if write in _QUICK] if ground.quick else found


def _broken_in(ground: Ground, write: str, do: Callable[[], object]) -> Broken:
    """The job itself may fail over to another attempt: what counts is that it ends well, once."""
    return ground.at(write, "before", do)


def _cut(ground: Ground) -> Mapping[str, Case]:
    cut = partial(cut_connections, ground.scene.settings.database.url)
    return {f"cut in {write}": partial(_broken_in, ground, write, cut) for write in _commits(ground)}


def _restarted(ground: Ground) -> Mapping[str, Case]:
    servers = ground.servers
    if servers is None:
        return {}

    def restart() -> None:
        servers.stop("postgres")
        servers.up("postgres")

    return {f"restarted in {w}": partial(_broken_in, ground, w, restart) for w in _commits(ground)}


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
    return {f"away {seconds:.0f} s in {w}": partial(_broken_in, ground, w, away) for w in writes}


_EXPECTED = "the job succeeds, once, with the weights of an undisturbed run"
GROUPS: Groups = (
    Group(
        broken="connections to PostgreSQL cut in the middle of each transaction",
        expected=_EXPECTED,
        cases=_cut,
    ),
    Group(
        broken="PostgreSQL restarted in the middle of each transaction", expected=_EXPECTED, cases=_restarted
    ),
    Group(
        broken="PostgreSQL failing over (stopped, 60 s later up; quick: 10 s), longer than the lease",
        expected=_EXPECTED,
        cases=_failed_over,
    ),
)
