"""The service as the demo's neighbour: `python -m app.cli serve` as a process of its own, until told to stop.

The service ends when this process does, however it ends: its standard input is a pipe from here.
Knows what the service announces (address, key, where datasets may lie), and nothing of what it does.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 90.0
_LOOK_EVERY_S = 0.1


class ServiceFailed(Exception):
    """The service did not come up; the message holds the end of its log."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service. `storage` are boto3's client arguments for the store where datasets may lie."""

    url: str
    key: str
    sign_in_url: str
    """Signs a browser in, once."""
    data_bucket: str
    storage: dict[str, str]
    environment: dict[str, str]
    """By which the operator's command finds database and store."""
    log: Path

    def operate(self, root: Path, *arguments: str) -> str:
        """Run the operator's command, `python -m app.cli …`; what it printed. Raises ServiceFailed."""
        command = [sys.executable, "-m", "app.cli", *arguments]
        ended = subprocess.run(
            command,
            cwd=root,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise ServiceFailed(f"`{' '.join(arguments)}` failed:\n{ended.stderr.strip()}")
        return ended.stdout.strip()


@contextmanager
def service(root: Path, folder: Path) -> Iterator[Service]:
    """Start everything in `folder`, wait until it answers, and stop it in the end. Raises ServiceFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    ready_file, log = folder / "ready.json", folder / "serve.log"
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "app.cli", "serve", "--folder", str(folder)]
    command += ["--ready-file", str(ready_file), "--until-stdin-closes"]
    with (
        log.open("wb") as output,
        # The service stops itself on Ctrl-C as well: a session of its own lets us decide the order.
        subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            yield _announced(process, ready_file, log)
        finally:
            _stop(process)


def _announced(process: subprocess.Popen[bytes], ready_file: Path, log: Path) -> Service:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            end = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
            raise ServiceFailed("The service did not start:\n" + "\n".join(end))
        time.sleep(_LOOK_EVERY_S)
    ready = json.loads(ready_file.read_text(encoding="utf-8"))
    variables = ready["environment"]
    return Service(
        url=ready["url"],
        key=ready["key"],
        sign_in_url=ready["sign_in_url"],
        data_bucket=ready["data_bucket"],
        storage={
            "endpoint_url": variables["CLEANCLIP_STORAGE__ENDPOINT_URL"],
            "aws_access_key_id": variables["CLEANCLIP_STORAGE__ACCESS_KEY"],
            "aws_secret_access_key": variables["CLEANCLIP_STORAGE__SECRET_KEY"],
            "region_name": variables.get("CLEANCLIP_STORAGE__REGION", "us-east-1"),
        },
        environment=variables,
        log=log,
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask by closing the pipe; after a while, insist."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
