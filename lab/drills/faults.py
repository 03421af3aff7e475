"""Faults: broker, database, object store, disk, memory, clock, sweepers, and a job that kills its child.

Each fault is true: servers are killed and started, connections are cut, a proxy sends wrong bytes, the disk
is a small one that is full, the limit is the kernel's. The clock alone is wrong in the worker's Python only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lab.drills import faults_machine, faults_servers
from lab.drills.drill import Place, Row
from lab.drills.faults_ground import Case, Ground, Groups
from lab.drills.kills import summary
from lab.drills.proxy import StoreProxy
from lab.drills.runs import Stage
from lab.drills.scene import embedded
from lab.drills.servers import Servers

NAME = "faults"
TITLE = "Broker, database, object store, disk, memory, clock"
GROUPS: Groups = (*faults_servers.GROUPS, *faults_machine.GROUPS)


def run(place: Place, *, quick: bool) -> list[Row]:
    with embedded(place.folder / "scene") as (scene, stack):
        proxy = StoreProxy(str(scene.settings.storage.endpoint_url))
        scene.variables["CLEANCLIP_STORAGE__ENDPOINT_URL"] = proxy.url
        stage = Stage.ready(scene, place)
        undisturbed, servers = stage.undisturbed(), Servers(stack)
        ground = Ground(stage=stage, undisturbed=undisturbed, proxy=proxy, servers=servers, quick=quick)
        rows = [row_of(place, group.broken, group.expected, group.cases(ground)) for group in GROUPS]
        proxy.close()
    return [row for row in rows if row.times]


def row_of(place: Place, broken: str, expected: str, cases: Mapping[str, Case]) -> Row:
    """One group, case by case."""

    def one(name: str, case: Case) -> dict[str, Any]:
        return case().reported(f"{broken}: {name}", place.say)

    works = {f"{broken[:40]} {name}": partial(one, name, case) for name, case in cases.items()}
    results = place.pieces(works)
    names = ", ".join(cases)
    return replace(summary(broken, results, expected), broken=f"{broken} ({names})")
