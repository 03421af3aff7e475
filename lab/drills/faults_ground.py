"""What every fault stands on: the stage, the servers, the proxy, an undisturbed run to compare with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from lab.drills.proxy import StoreProxy
from lab.drills.runs import Broken, Stage, Undisturbed, at_the_gate, gate, release
from lab.drills.scene import Scene
from lab.drills.servers import Servers

Case = Callable[[], Broken]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """`servers` None: they are shared with others, and what stops them is left out."""

    stage: Stage
    undisturbed: Undisturbed
    proxy: StoreProxy
    servers: Servers | None
    quick: bool

    @property
    def scene(self) -> Scene:
        return self.stage.scene

    def at(self, write: str, side: str, do: Callable[[], object]) -> Broken:
        """A job whose worker is held at that write while `do` breaks something, then released."""
        times: list[float] = []

        def break_it(process: ForkServerProcess, folder: Path) -> None:
            if at_the_gate(folder, process):
                do()
                times.append(time.time())
            release(folder)

        found = self.stage.broken_by(self.undisturbed, break_it, gate=gate(write, side, "hold"))
        found.reached = bool(times)
        return found


@dataclass(frozen=True, kw_only=True)
class Group:
    """One row of the table. `cases` are made when the ground is ready."""

    broken: str
    expected: str
    cases: Callable[[Ground], Mapping[str, Case]]


Groups = Sequence[Group]
