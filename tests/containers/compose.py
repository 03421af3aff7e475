"""docker-compose.yml, unmodified, on a real engine: `make compose-test`.

Starts it from nothing with secrets of odd characters, sends a small CLIP through upload → sanitize → download
→ verify, drains the worker in the middle of training, restarts each server, looks who reaches what, and tears
down. Prints a line for each step with its time; ends with 1 at the first that fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from app.local.processes import free_ports
from app.settings import StorageSettings
from app.storage.s3 import S3Store
from cleanclip.evidence.verification import verify
from cleanclip.models import Job
from cleanclip.sync.client import Client
from tests.architecture.test_containers import SECRETS
from tests.end_to_end import subject as subjects
from tests.fixtures import audited

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "cleanclip-trial"
PATIENCE_S = 900.0
SERVERS = ("postgres", "valkey", "seaweedfs", "store")
PROCESSES = ("api", "sweeper", "webhooks", "worker", "worker-light")
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


def make_order(
    compose: Compose, client: Client, project_id: str, folder: Path
) -> tuple[Path, dict[str, Any]]:
    """Uploads the small CLIP and its data; the path of its file, and a sanitize job's order."""
    canonical = audited.write_model(folder / "canonical")
    path = folder / "poisoned.pt"
    subjects.write_research_checkpoint(path, canonical)
    store = S3Store(compose.settings_of_store("owner"))
    for name, content in subjects.pair_files(folder / "pairs").items():
        store.put_bytes(f"data/{project_id}/pairs/{name}", content)
    sent = client.uploads.upload_file(path, declared=subjects.DECLARED)
    shard = subjects.labelled_shard(folder / "one")
    upload = client.uploads.create(filename="test.tar", size_bytes=len(shard), purpose="dataset")
    client.uploads.put_content(upload.id, len(shard), lambda: iter([shard]))
    client.uploads.complete(upload.id)
    labelled = client.datasets.create(
        kind="labelled", upload_id=upload.id, class_names=audited.CLASS_NAMES, templates=audited.TEMPLATES
    )
    reference = f"s3://cleanclip/data/{project_id}/pairs/pairs-{{00000..00002}}.tar"
    pairs = client.datasets.create(kind="pairs", uri=reference)
    assert sent.checkpoint_id is not None
    checkpoint = client.checkpoints.wait(sent.checkpoint_id, sha256=sent.sha256, timeout_s=PATIENCE_S)
    order = {
        "kind": "sanitize",
        "checkpoint_id": checkpoint.id,
        "dataset_id": client.datasets.wait(pairs.id, timeout_s=PATIENCE_S).id,
        "audit": {**subjects.AUDIT, "dataset_id": client.datasets.wait(labelled.id, timeout_s=PATIENCE_S).id},
        "recipe": subjects.RECIPE,
        "seed": subjects.SEED,
    }
    return path, order


def in_training(job: Job) -> bool:
    assert not job.is_finished, f"the job is {job.state}: {job.error}"
    return job.phase == "finetune" and (job.progress.step or 0) >= 3


def look_at_the_walls(compose: Compose) -> None:
    """Who reaches what, from inside; what is published, from outside."""
    reaches = (
        "import socket\n"
        "def reaches(host, port):\n"
        " try: socket.create_connection((host, port), 3).close(); return True\n"
        " except OSError: return False\n"
    )
    for service in ("api", "worker", "sweeper"):
        for port in (18333, 8888, 9333, 8080):
            asked = f"print(reaches('seaweedfs', {port}), reaches('store', {port}))"
            assert compose.python(service, reaches + asked) == "False False", (service, port)
    asked = "print(reaches('valkey', 6379), reaches('store', 8333), reaches('postgres', 5432))"
    assert compose.python("webhooks", reaches + asked) == "False False True"
    login = (
        "import os, psycopg\n"
        "from app.settings import load_settings\n"
        "from sqlalchemy import make_url\n"
        "url = make_url(load_settings().database.url)\n"
        "given = url.translate_connect_args(database='dbname', username='user')\n"
        "c = psycopg.connect(**given, autocommit=True)\n"
    )
    tried = 'try: c.execute("""{}"""); print("done")\nexcept psycopg.Error as e: print(type(e).__name__)\n'
    for statement in (
        "SET ROLE NONE; COPY (SELECT 1) TO PROGRAM 'true'",
        "SET ROLE cleanclip_operator",
        "SELECT * FROM pg_authid",
    ):
        assert compose.python("webhooks", login + tried.format(statement)) == "InsufficientPrivilege", (
            statement
        )
    metrics = httpx.get(f"http://127.0.0.1:{compose.api_port}/metrics", trust_env=False)
    assert metrics.status_code == 404
    asked = (
        "import urllib.request as u; print(u.urlopen('http://{}:9464/metrics', timeout=9).read().decode())"
    )
    for service in PROCESSES:
        assert "cleanclip_" in compose.python("webhooks", asked.format(service)), service


def trial(compose: Compose, folder: Path) -> None:
    with step("everything is up and healthy"):
        compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "600", timeout_s=700)
    with step("ready"):
        wait_until(lambda: is_ready(compose), "/readyz says 200", 60)
    with step("the operator made a key"):
        said = compose("run", "--rm", "-T", "operator", "create-key", "--project", "lab")
        key = next(word for word in said.split() if word.startswith("cclip_"))
        listed = compose("run", "--rm", "-T", "operator", "projects", "--json")
        [project_id] = [json.loads(one)["project_id"] for one in listed.splitlines() if one[:1] == "{"]
    levels = [
        line for line in compose("logs", "worker", "worker-light").splitlines() if "worker_ready" in line
    ]
    print(
        f"           isolation: {', '.join(json.loads(one[one.index('{') :])['isolation'] for one in levels)}"
    )
    with Client(f"http://127.0.0.1:{compose.api_port}", key) as client:
        with step("a checkpoint and its data went in and were inspected"):
            path, order = make_order(compose, client, project_id, folder)
        with step("cleaned"):
            job = client.jobs.wait(client.jobs.create(**order).id, timeout_s=PATIENCE_S)
        with step("downloaded and verified"):
            weights = download_and_verify(client, job, path, folder / "first")
        with step("the worker was drained in training, another went on"):
            drained = client.jobs.create(**order)
            wait_until(lambda: in_training(client.jobs.get(drained.id)), "training begins")
            compose("restart", "worker")
            ended = client.jobs.wait(drained.id, timeout_s=PATIENCE_S)
            types = [event.type for event in client.jobs.all_events(drained.id)]
            assert "handed_back" in types, types
            assert download_and_verify(client, ended, path, folder / "second") == weights, "other weights"
        for server in SERVERS:
            with step(f"{server} was restarted"):
                compose("restart", server)
                wait_until(lambda: is_ready(compose), "ready again", 120)
        with step("another job after all that"):
            job = client.jobs.wait(client.jobs.create(**order).id, timeout_s=PATIENCE_S)
            assert download_and_verify(client, job, path, folder / "third") == weights
        with step("a container too small for its job: the job waits, and nobody is blamed"):
            give_too_little_memory(compose, client, order)
    with step("who reaches what"):
        look_at_the_walls(compose)
    with step("the database was dumped, dropped and restored"):
        restore(compose)
        wait_until(lambda: is_ready(compose), "ready again", 120)
    with step("the ledger holds"):
        assert "0 violations" in compose("run", "--rm", "-T", "operator", "ledger", "--grace-s", "0")
    states = [
        json.loads(line) for line in compose("ps", "--format", "json").splitlines() if line.startswith("{")
    ]
    unwell = [state["Service"] for state in states if state["Health"] not in ("healthy", "")]
    assert not unwell, unwell


def give_too_little_memory(compose: Compose, client: Client, order: dict[str, Any]) -> None:
    compose.variables["WORKER_MEMORY"] = "450m"
    compose("up", "--detach", "--no-build", "--no-deps", "worker")
    job = client.jobs.create(**order, max_attempts=1)

    def failures() -> list[str]:
        events = client.jobs.all_events(job.id)
        return [event.data["error"]["code"] for event in events if event.type == "attempt_failed"]

    wait_until(failures, "the kernel kills the child")
    assert failures() == ["worker_out_of_memory"]
    assert client.jobs.get(job.id).state == "queued", "its only attempt did not count"
    client.jobs.cancel(job.id)
    del compose.variables["WORKER_MEMORY"]
    compose("up", "--detach", "--no-build", "--no-deps", "--wait", "worker")


def restore(compose: Compose) -> None:
    """As docs/how-to/operating/backups.md has it, with the bucket left as it is."""
    local = ("--host", "/var/run/postgresql", "--username", "postgres")
    dump, place = ("exec", "-T", "postgres"), "/var/lib/postgresql/cleanclip.dump"
    compose(*dump, "pg_dump", *local, "--format", "custom", "--file", place, "cleanclip")
    compose("stop", "api", "sweeper", "webhooks", "worker", "worker-light")
    compose(*dump, "dropdb", *local, "cleanclip")
    compose(*dump, "createdb", *local, "--owner", "owner_login", "cleanclip")
    restored = ("--dbname", "cleanclip", "--exit-on-error", "--single-transaction", place)
    compose(*dump, "pg_restore", *local, *restored)
    compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "600", timeout_s=700)


def download_and_verify(client: Client, job: Job, uploaded: Path, folder: Path) -> str:
    """The digest of the cleaned weights."""
    folder.mkdir()
    for artifact in client.jobs.artifacts(job.id):
        client.artifacts.download(artifact.id, folder)
    found = verify(folder, input_file=uploaded)
    assert [str(one) for one in found.findings] == []
    return subjects.sha256(folder / "model.safetensors")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="compose-") as name:
        compose = Compose(Path(name))
        os.environ["CLEANCLIP_CACHE_DIR"] = name
        try:
            trial(compose, Path(name))
        except (AssertionError, Exception) as error:  # noqa: BLE001 - whatever it is, the logs say more
            print(f"FAILED: {type(error).__name__}: {str(error)[-4000:]}", flush=True)
            print(compose("ps", "--all", check=False)[-4000:])
            print(compose("logs", "--tail", "25", check=False)[-12000:])
            return 1
        finally:
            if not os.environ.get("KEEP"):
                with step("taken down"):
                    compose("down", "--volumes", "--remove-orphans", "--timeout", "30", check=False)
    print("compose-test: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
