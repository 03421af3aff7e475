"""Everything on one machine in the foreground, from the stack to the deliverer; until told to stop.

What is the database's business (the schema, a key) is handed in as `prepare`. Whatever ends by itself is
started again, and stops nothing else. On SIGINT, SIGTERM, or the end of stdin where that was asked for, all
is stopped in order; killed outright, the guards stop it.
"""

import base64
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.local.processes import CannotStart
from app.local.service import Service, ServiceOptions, service_environment
from app.local.stack import Stack
from app.settings import Settings

ENVIRONMENT_NAME = "environment"
"""Of the file in the folder that other commands of the service load while it runs."""
DATA_BUCKET = "cleanclip-data"
"""Beside the service's own bucket: where datasets may lie, as s3://cleanclip-data/…"""
_KEY_FILE = "CLEANCLIP_SIGNING__KEY_FILE"
_LOOK_EVERY_S = 1.0
_MAX_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """`folder` holds all data and logs. `ready_file` gets a JSON object once all answers: what is where."""

    root: Path
    folder: Path
    host: str
    port: int
    stop_grace_s: float
    """What a running job gets to save its state."""
    with_worker: bool = True
    ready_file: Path | None = None
    until_stdin_closes: bool = False


@dataclass(frozen=True, kw_only=True)
class Access:
    """An API key, and the path of a link that signs a browser in once."""

    key: str
    sign_in_path: str


def serve(
    options: ServeOptions, *, prepare: Callable[[Settings], Access], say: Callable[[str], None]
) -> None:
    """Run until asked to stop. `prepare` brings the database up to date and says how to get in.

    Raises CannotStart; whatever way it ends, no process is left.
    """
    stop = _stop_request(from_stdin=options.until_stdin_closes)
    with Stack(options.folder / "stack", more_buckets=(DATA_BUCKET,)) as stack:
        access = prepare(stack.settings())
        own = _own_variables(stack.environment, options.folder)
        if options.with_worker and _KEY_FILE not in os.environ:
            own[_KEY_FILE] = _kept_signing_key(options)
        service = Service(
            ServiceOptions(
                root=options.root,
                folder=options.folder / "logs",
                host=options.host,
                port=options.port,
                stop_grace_s=options.stop_grace_s,
                with_worker=options.with_worker,
            ),
            service_environment(own),
        ).start()
        try:
            servers = _Servers(stack)
            _write_environment(options.folder / ENVIRONMENT_NAME, own)
            _write_ready(options, service, access, own)
            _announce(options, service, access, own, say)
            while not stop.wait(_LOOK_EVERY_S):
                for sentence in (sentences := [*servers.restarted(), *service.restart_dead()]):
                    say(sentence)
                if sentences:
                    with suppress(OSError):  # a full disk must not end what still runs
                        _write_ready(options, service, access, own)
            say("Stopping; a running job saves its state first.")
        finally:
            service.stop()
            (options.folder / ENVIRONMENT_NAME).unlink(missing_ok=True)
            if options.ready_file is not None:
                options.ready_file.unlink(missing_ok=True)


@dataclass
class _Servers:
    """Starts the stack's servers again; after one that does not start it waits, 2 s and ever longer."""

    stack: Stack
    wait_s: float = 1.0
    next_try_s: float = 0.0

    def restarted(self) -> list[str]:
        """What was done about those that ended."""
        if time.monotonic() < self.next_try_s:
            return []
        try:
            names = self.stack.restart_dead()
        except CannotStart as error:
            self.wait_s = min(_MAX_WAIT_S, 2 * self.wait_s)
            self.next_try_s = time.monotonic() + self.wait_s
            return [f"Not started, tried again in {self.wait_s:.0f} s: {error}"]
        self.wait_s = 1.0
        return [f"{name} ended; started again" for name in names]


def _stop_request(*, from_stdin: bool) -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())

    def wait_for_the_end() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop.set()

    if from_stdin:
        threading.Thread(target=wait_for_the_end, name="stdin", daemon=True).start()
    return stop


def _own_variables(stack: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What the service's processes get beside the user's environment; what the user set stays."""
    defaults = {
        "CLEANCLIP_DATASETS__ALLOWED_PREFIXES": json.dumps([f"s3://{DATA_BUCKET}/"]),
        "CLEANCLIP_WORKER__WORK_DIR": str(folder / "work"),
        "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS": json.dumps([_kept_webhooks_key(folder / "webhooks-key")]),
    }
    return defaults | dict(stack)


def _kept_webhooks_key(path: Path) -> str:
    """What seals the secrets of webhooks in this folder's database; made once."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() + "\n", encoding="ascii")
    return path.read_text(encoding="ascii").strip()


def _kept_signing_key(options: ServeOptions) -> str:
    """What signs results in this folder; made once. Raises CannotStart."""
    folder = options.folder / "signing"
    made = subprocess.run(
        [sys.executable, "-m", "worker.signing_keys", "ensure", str(folder)],
        cwd=options.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise CannotStart(f"There is no key that signs results: {made.stderr.strip()}")
    return str(folder / "signing-key.pem")


def _write_ready(options: ServeOptions, service: Service, access: Access, own: Mapping[str, str]) -> None:
    """The file for whoever started us: what is where, and what is down (how often in a row it ended)."""
    if options.ready_file is None:
        return
    ready = {
        "url": service.url,
        "key": access.key,
        "sign_in_url": service.url + access.sign_in_path,
        "folder": str(options.folder),
        "data_bucket": DATA_BUCKET,
        "environment": dict(own),
        "pids": {name: process.pid for name, process in service.processes.items()},
        "down": service.down(),
    }
    _write_private(options.ready_file, json.dumps(ready, indent=1))


def _write_environment(path: Path, own: Mapping[str, str]) -> None:
    """What a shell sources so that `python -m app.cli` finds this service's servers."""
    _write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in own.items()))


def _write_private(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".draft")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _public_half(key: str) -> str:
    return shlex.quote(str(Path(key).with_suffix(".pub.pem")))


def _announce(
    options: ServeOptions,
    service: Service,
    access: Access,
    own: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    say(f"API      {service.url}   (schema: {service.url}/v1/openapi.json)")
    say(f"key      {access.key}")
    say(f"pages    {service.url}{access.sign_in_path}   (signs in once)")
    if (key := own.get(_KEY_FILE)) is not None:
        say(f"signs    with {key}   (to check: cleanclip verify FOLDER --key {_public_half(key)})")
    say(f"data     {options.folder}   (logs: {options.folder / 'logs'}; datasets: s3://{DATA_BUCKET}/)")
    environment = shlex.quote(str(options.folder / ENVIRONMENT_NAME))
    say(f"operate  (. {environment} && python -m app.cli nulls)   (and every other command of app.cli)")
    say("Ctrl-C stops everything and keeps the data.")
