"""Workers and sweepers as real processes, started again when they end: what an operator's machine does.
Each behind a guard, so that none outlives us.

`celery -A worker.celery_app worker`, `python -m worker.sweeper`; with a stub child instead of the model
only where a drill says so (drills.stub_worker).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from app.local.processes import Launch, Managed, start
from lab.drills.processes import processes_in, signal_all
from lab.drills.records import ROOT

_WORKER = ("celery", "-A", "{app}", "worker", "--without-gossip", "--without-mingle", "--loglevel", "WARNING")


class Crew:
    """`keep` starts again whatever has ended, as long as it is called. The end of a block ends them all."""

    def __init__(
        self, environment: Mapping[str, str], folder: Path, *, app: str = "worker.celery_app"
    ) -> None:
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._folder = folder
        self._app = app
        self._members: dict[str, Managed] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def workers(self) -> list[str]:
        return sorted(name for name in self._members if name.startswith("worker"))

    def start(self, num_workers: int, num_sweepers: int = 1) -> None:
        for number in range(num_workers):
            self._start(f"worker-{number}")
        for number in range(num_sweepers):
            self._start(f"sweeper-{number}")

    def keep(self) -> int:
        """Start again what has ended; how many those were."""
        dead = [name for name, process in self._members.items() if not process.is_running]
        for name in dead:
            self._members[name].stop()
            self._start(name)
        return len(dead)

    def signal(self, name: str, number: signal.Signals) -> None:
        if self._members[name].is_running:
            signal_all([self._members[name].pid], number)

    def kill_child(self, name: str) -> bool:
        """SIGKILL to the child of that worker, guards included; False where it has none."""
        pids = processes_in(self.work_dir(name))
        signal_all(pids, signal.SIGKILL)
        return bool(pids)

    def work_dir(self, name: str) -> Path:
        return self._folder / name / "work"

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        signal_all((process.pid for process in self._members.values() if process.is_running), signal.SIGKILL)
        for process in self._members.values():
            process.stop()
        self._members.clear()

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", "worker.sweeper"]
        if name.startswith("worker"):
            command = [sys.executable, "-m", *(word.format(app=self._app) for word in _WORKER)]
            command += ["--hostname", f"{name}@drill"]
        self._members[name] = start(
            Launch(
                name=name,
                command=command,
                environment={**self._environment, "CLEANCLIP_WORKER__WORK_DIR": str(self.work_dir(name))},
                folder=ROOT,
                log_path=self._folder / f"{name}.log",
            )
        )
