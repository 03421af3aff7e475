"""The service's own processes on this machine: API, two workers, sweeper, deliverer; each behind a guard.

Started in order, stopped in order: first nothing new comes in, then running work is saved. One that ends by
itself is started again, after a longer wait each time, and stops none of the others. Imports nothing of them:
they are commands, and the worker's may load torch.
"""

import http.client
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.local.processes import CannotStart, Launch, Managed, free_ports, is_free, start, wait_until
from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE

READY_TIMEOUT_S = 60.0
_MAX_WAIT_S = 60.0
_CALM_S = 60.0
"""One that ran for so long begins with the shortest wait again."""

_API_STOP_GRACE_S = 5
"""Whoever stops a service on one machine waits for it at the terminal."""
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


@dataclass
class _Deaths:
    """Of one process. `restart_at_s` is set while it is down."""

    num: int = 0
    started_at_s: float = 0.0
    restart_at_s: float | None = None

    def one_more(self, now_s: float) -> float:
        """Seconds to wait before it is started again: 0, 1, 2, 4, … 60."""
        self.num = 1 if now_s - self.started_at_s > _CALM_S else self.num + 1
        wait_s = min(_MAX_WAIT_S, 2.0 ** (self.num - 2)) if self.num > 1 else 0.0
        self.restart_at_s = now_s + wait_s
        return wait_s


class Service:
    """`environment` is everything the processes get: os.environ and the stack's variables, say."""

    def __init__(
        self,
        options: ServiceOptions,
        environment: Mapping[str, str],
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._port = options.port
        self._environment = dict(environment)
        self._now_s = now_s
        self._deaths: dict[str, _Deaths] = {}
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
        """Start again what ended by itself and has waited long enough; says what happened."""
        said = []
        for name, process in list(self.processes.items()):
            deaths = self._deaths[name]
            if deaths.restart_at_s is None and not process.is_running:
                wait_s = deaths.one_more(self._now_s())
                said.append(_obituary(process, deaths.num, wait_s))
                process.stop()  # what it left behind
            if deaths.restart_at_s is not None and self._now_s() >= deaths.restart_at_s:
                said += self._started_again(name)
        return said

    def down(self) -> dict[str, int]:
        """What ended by itself and waits to be started again: how often in a row it did."""
        return {name: deaths.num for name, deaths in self._deaths.items() if deaths.restart_at_s is not None}

    def _started_again(self, name: str) -> list[str]:
        try:
            self._launch(name)
        except (CannotStart, OSError) as error:
            self._deaths[name].one_more(self._now_s())
            return [f"{name} cannot be started: {error}"]
        return [f"{name} started again"]

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
                "CLEANCLIP_API__STOP_GRACE_S": str(_API_STOP_GRACE_S),
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
                grace_s=self._options.stop_grace_s + 5.0 if name in _WORKERS else 2.0 * _API_STOP_GRACE_S,
            )
        )
        deaths = self._deaths.setdefault(name, _Deaths())
        deaths.started_at_s, deaths.restart_at_s = self._now_s(), None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _obituary(process: Managed, num_deaths: int, wait_s: float) -> str:
    again = f", {num_deaths} times in a row; next start in {wait_s:.0f} s" if num_deaths > 1 else ""
    log = f"\nThe end of {process.launch.log_path}:\n{process.log_tail(5)}" if num_deaths > 2 else ""
    return f"{process.name} ended with code {process.exit_code}{again}{log}"


def _worker(name: str, queue: str) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "--app", "worker.celery_app", "worker"),
        *("--queues", queue, "--hostname", f"{name}@%h", "--concurrency", "1"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
    ]


def service_environment(own: Mapping[str, str]) -> dict[str, str]:
    """The user's environment with our variables over it; output unbuffered, so that logs are current."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **own}
