"""The service's own processes on this machine: API, two workers, sweeper, deliverer; each behind a guard.

Started in order, started again when one ends by itself, stopped in order: first nothing new comes in, then
running work is saved. Imports nothing of them: they are commands, and the worker's may load torch.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.local.processes import CannotStart, Launch, Managed, free_ports, is_free, start, wait_until
from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE

READY_TIMEOUT_S = 60.0
MAX_RESTARTS = 5
_CALM_S = 60.0

_WORK_DIR = "CLEANCLIP_WORKER__WORK_DIR"
_WORKERS = {"worker-light": LIGHT_QUEUE, "worker-heavy": HEAVY_QUEUE}
"""One for each queue, so that an inspection never waits for a training run."""


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """`root` is where the packages lie; logs go below `folder`; a `port` of 0 means any free one."""

    root: Path
    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    stop_grace_s: float = 30.0
    with_worker: bool = True


class Service:
    """`environment` is everything the processes get: os.environ and the stack's variables, say."""

    def __init__(self, options: ServiceOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._port = options.port
        self._environment = dict(environment)
        self._restarts: Counter[str] = Counter()
        self._calm_since = time.monotonic()
        self.processes: dict[str, Managed] = {}

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._options.host in ("", "0.0.0.0", "::") else self._options.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def start(self) -> Self:
        """Returns once the API answers. Raises CannotStart with the end of a log; then nothing is left."""
        self._options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._port == 0:
            (self._port,) = free_ports(1)
        elif not is_free(self._port):
            raise CannotStart(f"Port {self._port} is in use: choose another with --port.")
        try:
            for name in self._commands():
                self._launch(name)
            wait_until(self._answers, self.processes["api"], timeout_s=READY_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the API, then the rest; a running job saves its state within the grace."""
        for process in self.processes.values():
            process.request_stop()
        for process in self.processes.values():
            process.stop()
        self.processes.clear()

    def restart_dead(self) -> list[str]:
        """Start again what ended by itself; says what. Raises CannotStart for what keeps ending."""
        if time.monotonic() - self._calm_since > _CALM_S:
            self._restarts.clear()
            self._calm_since = time.monotonic()
        said = []
        for name, process in list(self.processes.items()):
            if process.is_running:
                continue
            self._restarts[name] += 1
            if self._restarts[name] > MAX_RESTARTS:
                raise CannotStart(f"{name} keeps ending.\n{process.log_tail()}")
            said.append(f"{name} ended with code {process.exit_code}; started again")
            process.stop()
            self._launch(name)
        return said

    def _commands(self) -> dict[str, Sequence[str]]:
        api = [sys.executable, "-m", "app.main"]
        if not self._options.with_worker:
            return {"api": api}
        workers = {name: _worker(name, queue) for name, queue in _WORKERS.items()}
        return {
            "api": api,
            **workers,
            "sweeper": [sys.executable, "-m", "worker.sweeper"],
            "webhooks": [sys.executable, "-m", "worker.webhooks"],
        }

    def _launch(self, name: str) -> None:
        environment = dict(self._environment)
        if name == "api":
            environment |= {
                "CLEANCLIP_API__HOST": self._options.host,
                "CLEANCLIP_API__PORT": str(self._port),
            }
        if name in _WORKERS:  # each its own: a starting worker clears what an earlier one left there
            environment[_WORK_DIR] = str(Path(environment.get(_WORK_DIR, "var/work")) / name)
        self.processes[name] = start(
            Launch(
                name=name,
                command=self._commands()[name],
                environment=environment,
                folder=self._options.root,
                log_path=self._options.folder / f"{name}.log",
                grace_s=self._options.stop_grace_s + 5.0 if name in _WORKERS else 10.0,
            )
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _worker(name: str, queue: str) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "--app", "worker.celery_app", "worker"),
        *("--queues", queue, "--hostname", f"{name}@%h", "--concurrency", "1"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
    ]


def service_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The user's environment with our variables over it; output unbuffered, so that logs are current."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **own}
