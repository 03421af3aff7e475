"""The whole ground the service stands on, on one machine: database, broker and object store in one folder.

    with Stack(Path("var/stack")) as stack:
        settings = stack.settings()          # or stack.environment, for other processes

A server whose URL is in the environment already (CLEANCLIP_DATABASE__URL, CLEANCLIP_BROKER__URL,
CLEANCLIP_STORAGE__ENDPOINT_URL) is used as it is and not started. Stopped or killed in any way, the same
folder starts again with its data. Start it from a thread that lives on; only one stack can hold a folder.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from app.local import postgres, seaweedfs, valkey
from app.local.processes import CannotStart, Managed, wait_until
from app.settings import Settings

READY_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 25.0  # longer than the grace that the guards of a killed stack give their servers
_PORT_TAKEN = ("in use", "is not available on")
"""In a server's log; the latter is SeaweedFS's."""
_MAX_TRIES = 3  # another process may take a port between our choice and the server's bind


class Server(Protocol):
    """One server of the stack."""

    name: str
    process: Managed | None

    def launch(self) -> Managed: ...

    def is_ready(self) -> bool: ...

    def environment(self) -> dict[str, str]: ...

    def tidy(self) -> None: ...


class Stack:
    """Start with `start()` or `with`. `fsync=False` makes it quick and careless: for tests."""

    def __init__(
        self,
        folder: Path,
        *,
        fsync: bool = True,
        bucket: str = "cleanclip",
        more_buckets: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._fsync = fsync
        self._buckets = (bucket, *more_buckets)
        self._given = dict(os.environ if environ is None else environ)
        self._lock_fd: int | None = None
        self.servers: list[Server] = []

    @property
    def environment(self) -> dict[str, str]:
        """CLEANCLIP_… variables for every process of the service, what was given by the user included."""
        own = {name: value for name, value in self._given.items() if name.startswith("CLEANCLIP_")}
        for server in self.servers:
            own |= server.environment()
        return own

    def settings(self) -> Settings:
        """The same as settings, for this process; reads nothing else from the environment."""
        groups: dict[str, dict[str, str]] = {}
        for name, value in self.environment.items():
            group, separator, key = name.removeprefix("CLEANCLIP_").lower().partition("__")
            if separator and group in {"database", "broker", "storage"}:
                groups.setdefault(group, {})[key] = value
        return Settings.model_validate(groups)

    def start(self) -> Self:
        """Start what is not given, and wait until each answers. Raises CannotStart; then nothing is left."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = _lock(self.folder / "lock")
        try:
            self.servers = self._choose()
            for server in self.servers:
                server.launch()
            for server in self.servers:
                _bring_up(server)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything, cleanly where possible; safe to call twice."""
        running = [server.process for server in reversed(self.servers) if server.process is not None]
        for process in running:
            process.request_stop()
        for process in running:
            process.stop()
        for server in self.servers:
            server.tidy()
        self.servers = []
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def dead(self) -> list[str]:
        """Names of servers that ended although nobody asked them to."""
        return [s.name for s in self.servers if s.process is not None and not s.process.is_running]

    def restart_dead(self) -> list[str]:
        """Start again what ended; returns the names. Raises CannotStart once each was tried."""
        names = self.dead()
        failures = []
        for server in self.servers:
            if server.name in names and server.process is not None:
                try:
                    server.process.stop()
                    server.launch()
                    _bring_up(server)
                except (CannotStart, OSError) as error:
                    failures.append(f"{server.name}: {error}")
        if failures:
            raise CannotStart("\n".join(failures))
        return names

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _choose(self) -> list[Server]:
        held = (self._lock_fd,) if self._lock_fd is not None else ()
        servers: dict[str, Server] = {
            seaweedfs.VARIABLE: seaweedfs.SeaweedFS(
                self.folder / "seaweedfs", buckets=self._buckets, held_fds=held
            ),
            valkey.VARIABLE: valkey.Valkey(self.folder / "valkey", fsync=self._fsync, held_fds=held),
            postgres.VARIABLE: postgres.Postgres(self.folder / "postgres", fsync=self._fsync, held_fds=held),
        }
        return [server for variable, server in servers.items() if not self._given.get(variable)]


def _bring_up(server: Server) -> None:
    for left in reversed(range(_MAX_TRIES)):
        process = server.process
        if process is None:
            raise CannotStart(f"{server.name} was never launched")
        try:
            wait_until(server.is_ready, process, timeout_s=READY_TIMEOUT_S)
        except CannotStart as error:
            process.stop()
            if left == 0 or not any(words in str(error).lower() for words in _PORT_TAKEN):
                raise
            server.launch()
        else:
            return


def _lock(path: Path) -> int:
    """An exclusive lock that lasts until we and every guard that inherits it are gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise CannotStart(f"Another stack runs in {path.parent}: stop it, or choose another folder.")
        time.sleep(0.1)
