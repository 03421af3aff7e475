"""docker-compose.yml, unmodified, on a real engine: `make compose-test`.

Starts it from nothing with secrets of odd characters, sends a small CLIP through upload → sanitize → download
→ verify, drains the worker in the middle of training, restarts each server, looks who reaches what, upgrades
to images with one more migration, restores a dump, and tears down. Prints a line for each step with its time;
ends with 1 at the first that fails.

    python -m tests.containers.compose            # all of it: about ten minutes
    python -m tests.containers.compose --quick    # what CI does; without an image of the worker, no jobs
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from cleanclip.sync.client import Client
from tests.containers import attestation, operating
from tests.containers.jobs import download_and_verify, drain_in_training, give_too_little_memory, make_order
from tests.containers.stack import PATIENCE_S, SERVERS, WORKERS, Compose, is_ready, step, wait_until


def start(compose: Compose) -> tuple[str, str]:
    """A key, and the id of its project."""
    with step("everything is up and healthy"):
        compose.up()
    with step("ready"):
        wait_until(lambda: is_ready(compose), "/readyz says 200", 60)
    with step("the operator made a key"):
        said = compose("run", "--rm", "-T", "operator", "create-key", "--project", "lab")
        key = next(word for word in said.split() if word.startswith("cclip_"))
        listed = compose("run", "--rm", "-T", "operator", "projects", "--json")
        [project_id] = [json.loads(one)["project_id"] for one in listed.splitlines() if one[:1] == "{"]
    ready = [line for line in compose("logs", *WORKERS).splitlines() if "worker_ready" in line]
    levels = [json.loads(line[line.index("{") :])["isolation"] for line in ready]
    print(f"           isolation: {', '.join(levels) or 'no worker'}")
    return key, project_id


def restart_servers(compose: Compose) -> None:
    for server in SERVERS:
        with step(f"{server} was restarted"):
            compose("restart", server)
            wait_until(lambda: is_ready(compose), "ready again", 120)


def look_after_it(compose: Compose) -> None:
    with step("the ledger holds"):
        assert "0 violations" in compose("run", "--rm", "-T", "operator", "ledger", "--grace-s", "0")
    lines = compose("ps", "--format", "json").splitlines()
    states = [json.loads(line) for line in lines if line.startswith("{")]
    unwell = [state["Service"] for state in states if state["Health"] not in ("healthy", "")]
    assert not unwell, unwell


def quick_trial(compose: Compose, folder: Path) -> None:
    """The shortest way that starts all, cleans a checkpoint over a drained worker, and restarts all."""
    key, project_id = start(compose)
    if compose.has_worker:
        with Client(f"http://127.0.0.1:{compose.api_port}", key) as client:
            with step("a checkpoint and its data went in and were inspected"):
                path, order = make_order(compose, client, project_id, folder)
            with step("cleaned, by a worker that was drained in training and another"):
                job = drain_in_training(compose, client, order)
            with step("downloaded and verified"):
                download_and_verify(client, job, path, folder / "first")
    else:
        print("           there is no image of the worker: jobs were NOT run")
    restart_servers(compose)
    look_after_it(compose)


def trial(compose: Compose, folder: Path) -> None:
    with step("the images are listed and signed"):
        attestation.sign_and_verify(folder / "attested")
    key, project_id = start(compose)
    with Client(f"http://127.0.0.1:{compose.api_port}", key) as client:
        with step("a checkpoint and its data went in and were inspected"):
            path, order = make_order(compose, client, project_id, folder)
        with step("cleaned"):
            job = client.jobs.wait(client.jobs.create(**order).id, timeout_s=PATIENCE_S)
        with step("downloaded and verified"):
            weights = download_and_verify(client, job, path, folder / "first")
        with step("the worker was drained in training, another went on"):
            ended = drain_in_training(compose, client, order)
            assert download_and_verify(client, ended, path, folder / "second") == weights, "other weights"
        restart_servers(compose)
        with step("another job after all that"):
            job = client.jobs.wait(client.jobs.create(**order).id, timeout_s=PATIENCE_S)
            assert download_and_verify(client, job, path, folder / "third") == weights
        with step("a container too small for its job: the job waits, and nobody is blamed"):
            give_too_little_memory(compose, client, order)
        with step("who reaches what"):
            operating.look_at_the_walls(compose)
        with step("upgraded to images with one more migration, in the middle of a job"):
            ended = client.jobs.get(operating.upgrade(compose, client, order))
            assert download_and_verify(client, ended, path, folder / "fourth") == weights
    with step("the database was dumped, dropped and restored"):
        operating.restore(compose)
        wait_until(lambda: is_ready(compose), "ready again", 120)
    look_after_it(compose)


def main(words: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="compose-") as name:
        compose = Compose(Path(name))
        os.environ["CLEANCLIP_CACHE_DIR"] = name
        needed = ("api",) if "--quick" in words else ("api", "worker")
        if missing := compose.missing(*needed):
            print(
                f"FAILED: there is no image {' and no image '.join(missing)}. Build them first: make images"
            )
            return 1
        try:
            (quick_trial if "--quick" in words else trial)(compose, Path(name))
        except (AssertionError, Exception) as error:  # noqa: BLE001 - whatever it is, the logs say more
            print(f"FAILED: {type(error).__name__}: {str(error)[-4000:]}", flush=True)
            print(compose("ps", "--all", check=False)[-4000:])
            print(compose("logs", "--tail", "25", check=False)[-12000:])
            return 1
        finally:
            if not os.environ.get("KEEP"):
                with step("taken down"):
                    compose.down()
    print("compose-test: passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
