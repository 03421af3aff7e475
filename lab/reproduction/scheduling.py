"""Runs many cells in processes, each after those that it needs; says how far it is.

A cell that was cut leaves no cell.json and is run again; one that fails fails those that need it, no other.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lab.reproduction.cells import GATE, Cell, cell_id, describe, needs
from lab.reproduction.measured import Measured, is_pointless
from lab.reproduction.running import Folders, run_cell


def run_all(
    cells: Sequence[Cell],
    root: Path,
    *,
    jobs: int,
    stop_after_s: float | None = None,
    known: Mapping[str, Measured] = MappingProxyType({}),
    gate: float = GATE,
    say: Callable[[str], None],
) -> list[Cell]:
    """Run the cells of `cells` that were not run; returns those that failed, or need one that did.

    A model whose ASR is under `gate` is not cleaned. `stop_after_s`: begin no cell after so long.
    `known`: what cells gave elsewhere; they are run only where another one starts from their weights. Where
    these come out as other weights here, what starts from them fails: it has no model to be compared with.
    """
    folders = Folders(root)
    done = {cell_id(cell): reported for cell in cells if (reported := folders.measured(cell)) is not None}
    waiting = to_run(cells, done, known, gate)
    run = _Run(root=root, jobs=jobs, say=say, done=done, known=known, waiting=waiting, gate=gate)
    say(f"{len(cells) - run.total} of {len(cells)} cells are there already")
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_ignore_stop)
    started = time.monotonic()
    try:
        while run.start(pool):
            run.take(wait(run.running, return_when=FIRST_COMPLETED).done)
            if stop_after_s is not None and time.monotonic() - started > stop_after_s:
                run.waiting.clear()
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return run.failed


@dataclass(kw_only=True)
class _Run:
    """What waits, runs, is done and has failed."""

    root: Path
    jobs: int
    say: Callable[[str], None]
    done: dict[str, Measured]
    known: Mapping[str, Measured]
    waiting: list[Cell]
    gate: float
    running: dict[Future[Measured | str], Cell] = field(default_factory=dict)
    failed: list[Cell] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = len(self.waiting)

    def start(self, pool: ProcessPoolExecutor) -> bool:
        """Give the pool cells that can be run, in order; whether anything runs then."""
        mismatched = [cell for cell in self.waiting if self._starts_elsewhere(cell)]
        for cell in mismatched:
            self.say(f"failed: {describe(cell)}: its model has other weights here than those published")
        self.failed += mismatched
        lost = [cell for cell in self.waiting if any(first in self.failed for first in needs(cell))]
        self.failed += lost
        pointless = [cell for cell in self.waiting if is_pointless(cell, self._measured, self.gate)]
        self.total -= len(pointless)
        self.waiting = [cell for cell in self.waiting if cell not in [*mismatched, *lost, *pointless]]
        ready = [c for c in self.waiting if all(cell_id(first) in self.done for first in needs(c))]
        for cell in ready[: self.jobs - len(self.running)]:
            self.waiting.remove(cell)
            self.running[pool.submit(_attempt, cell, self.root)] = cell
        return bool(self.running)

    def take(self, finished: Iterable[Future[Measured | str]]) -> None:
        """Note what finished cells gave."""
        for future in finished:
            cell = self.running.pop(future)
            result = future.result()
            if isinstance(result, str):
                self.failed.append(cell)
                self.say(f"failed: {describe(cell)}\n{result}")
                continue
            self.done[cell_id(cell)] = result
            num_left = len(self.waiting) + len(self.running)
            self.say(f"{self.total - num_left} of {self.total}  {_line(cell, result)}")

    def _starts_elsewhere(self, cell: Cell) -> bool:
        """Whether its figures are not known and what it needs, made again here, is not what was published."""
        if cell_id(cell) in self.known:
            return False
        both = [(self.done.get(name), self.known.get(name)) for name in map(cell_id, needs(cell))]
        return any(
            here and reported and here.weights_sha256 != reported.weights_sha256 for here, reported in both
        )

    def _measured(self, cell: Cell) -> Measured | None:
        return self.done.get(cell_id(cell))


def _attempt(cell: Cell, root: Path) -> Measured | str:
    """The cell's figures, or why there are none: not every error can be sent from one process to another."""
    try:
        return run_cell(cell, root)
    except Exception:  # noqa: BLE001 - reported by the parent, with its traceback
        return traceback.format_exc()


def to_run(
    cells: Sequence[Cell], done: Mapping[str, Measured], known: Mapping[str, Measured], gate: float
) -> list[Cell]:
    """The cells that are neither there nor known, and those whose weights they start from, in order.

    `done`: below the folder, with weights; `known`: figures of elsewhere. What is pointless is left out.
    """
    wanted: set[str] = set()
    reported = {**known, **done}
    for cell in reversed(cells):  # those that start from a cell come after it
        name = cell_id(cell)
        if is_pointless(cell, lambda one: reported.get(cell_id(one)), gate):
            continue
        if name not in done and (name not in known or name in wanted):
            wanted.add(name)
            wanted.update(cell_id(first) for first in needs(cell))
    return [cell for cell in cells if cell_id(cell) in wanted.difference(done)]


def _line(cell: Cell, result: Measured) -> str:
    asr = f", ASR {result.test.asr.value:.1%}" if result.test.asr else ""
    return f"{describe(cell)}: CA {result.test.ca.value:.1%}{asr} ({result.wall_s:.0f} s)"


def _ignore_stop() -> None:
    """Ctrl-C goes to the whole group; the parent ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
