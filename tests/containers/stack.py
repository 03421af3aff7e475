"""The stack of docker-compose.yml under a name of its own, with secrets of odd characters."""

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
from pydantic import SecretStr

from app.local.processes import free_ports
from app.settings import StorageSettings
from tests.architecture.test_containers import SECRETS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "cleanclip-trial"
PATIENCE_S = 900.0
SERVERS = ("postgres", "valkey", "seaweedfs", "store")
WORKERS = ("worker", "worker-light")
PROCESSES = ("api", "sweeper", "webhooks", *WORKERS)
_STARTED = time.monotonic()


class Compose:
    """The stack of one trial."""

    def __init__(self, folder: Path) -> None:
        self.api_port, self.store_port = free_ports(2)
        self.secrets = {name: f"{secrets.token_hex(8)}@:/#%41 \"'x" for name in SECRETS}
        variables = self.secrets | {
            "API_PORT": str(self.api_port),
            "STORAGE_PORT": str(self.store_port),
            "PUBLIC_STORAGE_URL": f"http://127.0.0.1:{self.store_port}",
            "REQUIRE_ISOLATION": os.environ.get("REQUIRE_ISOLATION", "network"),
        }
        self.variables = {**os.environ, **variables}
        self._base = [
            "docker",
            "compose",
            "--project-name",
            PROJECT,
            "--file",
            str(ROOT / "docker-compose.yml"),
        ]

    def __call__(self, *words: str, check: bool = True, timeout_s: float = 600) -> str:
        done = subprocess.run(
            [*self._base, *words],
            cwd=ROOT,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"docker compose {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def up(self, *services: str, timeout_s: float = 700) -> None:
        """Start them, all without a name, with the images that are there, and wait until they are healthy.

        Where there is no image of a worker, none is started."""
        options = ["--detach", "--no-build", "--wait", "--wait-timeout", str(int(timeout_s) - 100)]
        if not self.has_worker:
            options += [f"--scale={name}=0" for name in (*WORKERS, "signing-key")]  # of the same image
        if services:
            options.append("--no-deps")
        self("up", *options, *services, timeout_s=timeout_s)

    @property
    def has_worker(self) -> bool:
        """Whether there is an image of the worker."""
        return not self.missing("worker")

    def missing(self, *names: str) -> list[str]:
        """Those of our images that are not there."""
        images = [f"cleanclip/{name}:{self.variables.get('TAG', 'dev')}" for name in names]
        looks = [["docker", "image", "inspect", image] for image in images]
        are_there = [not subprocess.run(look, capture_output=True, check=False).returncode for look in looks]
        return [image for image, is_there in zip(images, are_there, strict=True) if not is_there]

    def down(self) -> None:
        self("down", "--volumes", "--remove-orphans", "--timeout", "40", check=False)

    def python(self, service: str, code: str) -> str:
        """Run in a service's container; what it prints."""
        return self("exec", "-T", service, "python", "-c", code).strip()

    def settings_of_store(self, name: str) -> StorageSettings:
        return StorageSettings(
            endpoint_url=f"http://127.0.0.1:{self.store_port}",
            access_key=name,
            secret_key=SecretStr(self.secrets[f"STORAGE_{name.upper()}_SECRET"]),
        )


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    now = time.monotonic()
    print(f"{now - _STARTED:7.1f} s  {what} ({now - began:.1f} s)", flush=True)


def wait_until(is_true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.5)


def is_ready(compose: Compose) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        answer = httpx.get(f"http://127.0.0.1:{compose.api_port}/readyz", timeout=5, trust_env=False)
        return answer.status_code == 200 and answer.json()["broker"] == "ok"
    return False
