"""Runs many cells in processes, each after those that it needs; says how far it is. Knows no figures.

A cell that was cut leaves no cell.json and is run anew; one that fails fails those that need it, no other.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from reproduction.cells import Cell, Cleaning, Subject, cell_id, describe, needs
from reproduction.measured import Measured
from reproduction.running import Folders, run_cell

_GUESSED_S = {"subject": 240.0, "cleaning": 75.0, "control": 20.0}
"""Before any cell of a kind was timed."""


@dataclass
class Progress:
    """What is done, and how long the rest may take."""

    total: int
    jobs: int
    timed: dict[str, list[float]] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)

    def left_s(self) -> float:
        """The time that the waiting cells take, by the mean of those of their kind."""
        return sum(self._mean_s(kind) * number for kind, number in self.waiting.items()) / self.jobs

    def _mean_s(self, kind: str) -> float:
        times = self.timed.get(kind)
        return sum(times) / len(times) if times else _GUESSED_S[kind]


def kind_of(cell: Cell) -> str:
    """For the estimate: cells of a kind take about as long as each other."""
    return "subject" if isinstance(cell, Subject) else "cleaning" if isinstance(cell, Cleaning) else "control"


def run_all(
    cells: Sequence[Cell],
    root: Path,
    *,
    jobs: int,
    stop_after_s: float | None = None,
    say: Callable[[str], None],
) -> list[Cell]:
    """Run the cells of `cells` that were not run; returns those that failed, or need one that did.

    `stop_after_s`: begin no cell after so long.
    """
    folders = Folders(root)
    done = {cell_id(cell) for cell in cells if folders.measured(cell) is not None}
    waiting = [cell for cell in cells if cell_id(cell) not in done]
    progress = Progress(total=len(cells), jobs=jobs)
    failed: list[Cell] = []
    running: dict[Future[Measured], Cell] = {}
    started = time.monotonic()
    say(f"{len(done)} of {len(cells)} cells are there already")
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_stop
    )
    try:
        while waiting or running:
            if stop_after_s is not None and time.monotonic() - started > stop_after_s:
                waiting.clear()
            lost = [cell for cell in waiting if any(first in failed for first in needs(cell))]
            failed += lost
            waiting = [cell for cell in waiting if cell not in lost]
            for cell in [cell for cell in waiting if all(cell_id(first) in done for first in needs(cell))]:
                if len(running) == jobs:
                    break
                waiting.remove(cell)
                running[pool.submit(run_cell, cell, root)] = cell
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                error = future.exception()
                if error is not None:
                    failed.append(cell)
                    say(f"failed: {describe(cell)}\n{''.join(traceback.format_exception(error))}")
                    continue
                done.add(cell_id(cell))
                result = future.result()
                progress.timed.setdefault(kind_of(cell), []).append(result.wall_s)
                progress.waiting = _count(waiting + list(running.values()))
                say(f"{len(done)} of {len(cells)}  {_line(cell, result)}  {_left(progress.left_s())}")
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _count(cells: Sequence[Cell]) -> dict[str, int]:
    kinds = [kind_of(cell) for cell in cells]
    return {kind: kinds.count(kind) for kind in set(kinds)}


def _line(cell: Cell, result: Measured) -> str:
    asr = f", ASR {result.test.asr.value:.1%}" if result.test.asr else ""
    return f"{describe(cell)}: CA {result.test.ca.value:.1%}{asr} ({result.wall_s:.0f} s)"


def _left(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02d} min left" if hours else f"about {minutes} min left"


def _ignore_stop() -> None:
    """Ctrl-C goes to the whole group; the parent ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
