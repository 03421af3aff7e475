"""SeaweedFS (the S3 protocol) on this machine, from a wheel: every role in one process, loopback only.

One identity with a key of its own, kept in a file that only we may read. No telemetry, no admin page, no
WebDAV. Its ports are kept from one start to the next, so that a presigned URL outlives a restart.
"""

import contextlib
import http.client
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from app.local.processes import Launch, Managed, find_binary, free_ports, is_free, plain_environment, start
from app.local.valkey import kept_secret

VARIABLE = "CLEANCLIP_STORAGE__ENDPOINT_URL"
ACCESS_KEY = "cleanclip"
_ROLES = ("s3", "master", "volume", "filer", "admin")
_MEMORY_LIMIT = "1GiB"
"""A bound, not a diet. The server holds 240 MiB of buffers, of which it touches half: at 256 MiB it collected
garbage all the time (a fifth of a core while idle, and writes took almost three times as long)."""


@dataclass
class SeaweedFS:
    """`folder` is ours alone; `buckets` are made."""

    folder: Path
    buckets: tuple[str, ...]
    held_fds: tuple[int, ...] = ()
    name: str = "seaweedfs"
    process: Managed | None = field(default=None, init=False)
    _ports: dict[str, int] = field(default_factory=dict, init=False)
    _secret_key: str = field(default="", init=False, repr=False)

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def environment(self) -> dict[str, str]:
        return {
            VARIABLE: self.endpoint_url,
            "CLEANCLIP_STORAGE__ACCESS_KEY": ACCESS_KEY,
            "CLEANCLIP_STORAGE__SECRET_KEY": self._secret_key,
            "CLEANCLIP_STORAGE__BUCKET": self.buckets[0],
            "CLEANCLIP_STORAGE__ADDRESSING_STYLE": "path",
        }

    def launch(self) -> Managed:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        self._secret_key = kept_secret(self.folder / "secret_key")
        identities = self.folder / "identities.json"
        identities.touch(mode=0o600)
        identities.write_text(json.dumps(self._identities()), encoding="utf-8")
        self._ports = self._choose_ports()
        options = {
            "dir": str(data),
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "bucket": ",".join(self.buckets),
            "master.telemetry": "false",
            "webdav": "false",
            "admin.ui": "false",
            "s3.config": str(identities),
            # Pages send parts, by whatever name this machine is called; each URL is signed for its part.
            "s3.allowedOrigins": "*",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "volume.preStopSeconds": "0",
            **{name: str(port) for name, port in self._ports.items()},
        }
        self.process = start(
            Launch(
                name=self.name,
                command=[
                    str(binary()),
                    "-logtostderr=true",
                    "mini",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                environment=plain_environment(self.folder) | {"GOMEMLIMIT": _MEMORY_LIMIT},
                folder=self.folder,
                log_path=self.folder / "seaweedfs.log",
                held_fds=self.held_fds,
            )
        )
        return self.process

    def tidy(self) -> None:
        """After the server stopped: it leaves nothing outside its folder."""

    def is_ready(self) -> bool:
        """The S3 gateway answers and every bucket is there (asked of the filer, which needs no signature)."""
        if _status(self._ports["s3.port"], "/") is None:
            return False
        filer = self._ports["filer.port"]
        return all(_status(filer, f"/buckets/{bucket}/?limit=1") == 200 for bucket in self.buckets)

    def _identities(self) -> dict[str, object]:
        key = {"accessKey": ACCESS_KEY, "secretKey": self._secret_key}
        actions = ["Admin", "Read", "List", "Tagging", "Write"]
        return {"identities": [{"name": ACCESS_KEY, "credentials": [key], "actions": actions}]}

    def _choose_ports(self) -> dict[str, int]:
        names = [name for role in _ROLES for name in (f"{role}.port", f"{role}.port.grpc")]
        path = self.folder / "ports.json"
        with contextlib.suppress(OSError, ValueError):
            kept: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
            if sorted(kept) == sorted(names) and all(is_free(port) for port in kept.values()):
                return kept
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(ports), encoding="utf-8")
        draft.replace(path)
        return ports


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def binary() -> Path:
    """Of SeaweedFS."""
    return find_binary("weed", Path(sys.executable).parent / "weed", Path(sys.prefix) / "bin" / "weed")
