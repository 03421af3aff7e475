"""The alerts, for real: Prometheus and Alertmanager watch the stack while it is broken in many ways.

    python -m tests.containers.alerts        # a quarter of an hour; needs Prometheus and Alertmanager

The rules are alerts.yml with shorter times (`scaled`), or it would take a day. Prints a line for each alert,
with what was done for it, and when Alertmanager had it. Run by hand; its result: docs/verification/claims.md.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from app.local.processes import free_ports
from cleanclip.errors import CleanClipError
from cleanclip.sync.client import Client
from tests.containers.compose import start
from tests.containers.jobs import give_too_little_memory, in_training, make_order
from tests.containers.stack import PROJECT, ROOT, Compose, wait_until

_RULES = ROOT / "docs" / "how-to" / "operating" / "alerts" / "alerts.yml"
_LONGEST_WAIT_S = 150.0


def scaled(rules: str) -> str:
    """The same rules with seconds for minutes in `for`, and windows and limits of under a minute."""
    shorter = re.sub(r"for: (\d+)m\b", lambda found: f"for: {max(5, int(found[1]))}s", rules)
    shorter = re.sub(r"\[(5m|15m|30m|1h)\]", "[40s]", shorter)
    # Sweeps come twice a minute: two that fail instead of six.
    failures = "(cleanclip_sweep_failures_total[{}])) > {}"
    shorter = shorter.replace(failures.format("40s", 5), failures.format("15m", 1))
    shorter = shorter.replace('|setup"}[40s]', '|setup"}[1h]')
    return shorter.replace("> 1800", "> 20").replace("> 6 * 3600", "> 40").replace("> 300", "> 40")


class Watchers:
    """Prometheus and Alertmanager on this machine; the containers are reached on the network of metrics."""

    def __init__(self, compose: Compose, folder: Path) -> None:
        self.compose = compose
        self.folder = folder
        self.ports = free_ports(2)
        self.addresses: dict[str, str] = {}
        self.fired: dict[str, str] = {}
        self._stop = threading.Event()

    def look_for_targets(self) -> None:
        """Where each process listens now; of one that is down, where it was."""
        names = subprocess.run(
            ["docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        looked = json.loads(
            subprocess.run(["docker", "inspect", *names], capture_output=True, check=True).stdout
        )
        for found in looked:
            service = found["Config"]["Labels"]["com.docker.compose.service"]
            network = found["NetworkSettings"]["Networks"].get(f"{PROJECT}_metrics", {})
            if network.get("IPAddress"):
                self.addresses[service] = network["IPAddress"]
        targets = [
            {"targets": [f"{address}:9464"], "labels": {"instance": name}}
            for name, address in sorted(self.addresses.items())
        ]
        place = self.folder / "targets.json"
        place.with_suffix(".new").write_text(json.dumps(targets))
        place.with_suffix(".new").rename(place)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        (self.folder / "rules.yml").write_text(scaled(_RULES.read_text()))
        prometheus, alertmanager = self.ports
        configuration = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
            "scrape_configs": [
                {
                    "job_name": "cleanclip",
                    "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "5s"}],
                }
            ],
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (self.folder / "alertmanager.yml").write_text(
            yaml.safe_dump(
                {"route": {"receiver": "none", "group_wait": "1s"}, "receivers": [{"name": "none"}]}
            )
        )
        commands = (
            ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
             f"--web.listen-address=127.0.0.1:{prometheus}"],
            ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
             f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="],
        )  # fmt: skip
        log = (self.folder / "log").open("w")
        started = [subprocess.Popen(one, cwd=self.folder, stdout=log, stderr=log) for one in commands]
        follower = threading.Thread(target=self._follow)
        follower.start()
        try:
            yield
        finally:
            self._stop.set()
            follower.join()
            for process in started:
                process.terminate()
                process.wait(30)

    def _follow(self) -> None:
        address = f"http://127.0.0.1:{self.ports[1]}/api/v2/alerts"
        while not self._stop.wait(1):
            with contextlib.suppress(httpx.HTTPError, subprocess.CalledProcessError):
                self.look_for_targets()
                for alert in httpx.get(address, timeout=5, trust_env=False).json():
                    self.fired.setdefault(alert["labels"]["alertname"], alert["startsAt"])

    def wait_for(self, did: str, *names: str, keep: Callable[[], object] = lambda: None) -> None:
        """Until these fired; meanwhile `keep` is called again and again."""
        deadline = time.monotonic() + _LONGEST_WAIT_S
        while set(names) - set(self.fired) and time.monotonic() < deadline:
            keep()
            time.sleep(0.2)
        for name in names:
            print(f"{name:32} {self.fired.get(name, 'NOT FIRED'):28} {did}", flush=True)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def _name_of(service: str) -> str:
    return f"{PROJECT}-{service}-1"


def kill_children(client: Client, order: dict[str, Any]) -> Callable[[], None]:
    """Kills the child of the worker, from outside, whenever there is one: no more than five."""
    left = 5
    jobs = [client.jobs.create(**order) for _ in range(3)]

    def again() -> None:
        nonlocal left
        for line in _docker("top", _name_of("worker"), "-eo", "pid,args").splitlines()[1:]:
            pid, _, command = line.strip().partition(" ")
            if left and "sanitizer" in command and "run" in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
                    left -= 1
                time.sleep(3)
                break
        if not left:
            for job in jobs:
                with contextlib.suppress(CleanClipError):
                    client.jobs.cancel(job.id)

    return again


def open_worker() -> str:
    """A worker under Docker's own profile that may start without isolation; its container's name."""
    name = f"{PROJECT}-open"
    image = json.loads(_docker("inspect", _name_of("worker-light")))[0]
    environment = [word for one in image["Config"]["Env"] if "REQUIRE" not in one for word in ("--env", one)]
    networks = list(image["NetworkSettings"]["Networks"])
    label = "com.docker.compose"
    marks = ["--label", f"{label}.project={PROJECT}", "--label", f"{label}.service=worker-open"]
    _docker("create", "--name", name, *marks, "--network", networks[0], *environment,
            image["Config"]["Image"], *image["Config"]["Cmd"])  # fmt: skip
    for network in networks[1:]:
        _docker("network", "connect", network, name)
    _docker("start", name)
    return name


def connect_too_often(port: int) -> Callable[[], None]:
    """More connections than the API allows, from one address: 30 more a fifth of a second, 3,000 at most."""
    held: list[socket.socket] = []

    def again() -> None:
        for _ in range(30):
            if len(held) < 3000:
                with contextlib.suppress(OSError):
                    held.append(socket.create_connection(("127.0.0.1", port), 2))

    return again


def break_everything(compose: Compose, watch: Watchers, folder: Path) -> None:
    key, project_id = start(compose)
    url = f"http://127.0.0.1:{compose.api_port}"
    with Client(url, key) as client, watch.running():
        _, order = make_order(compose, client, project_id, folder)
        poll = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=9
        )
        hook = client.webhooks.create("https://cleanclip.invalid/hook")
        time.sleep(40)  # until every process was looked at
        watch.fired.clear()
        time.sleep(20)
        assert not watch.fired, watch.fired
        print("quiet for 20 s: nothing fires", flush=True)

        starved = partial(watch.wait_for, "a worker with 450 MiB, a job", "CleanclipContainerOutOfMemory")
        give_too_little_memory(compose, client, order, meanwhile=starved)

        def test_hook() -> None:
            with contextlib.suppress(CleanClipError):
                client.webhooks.test(hook.id)
            time.sleep(2)

        watch.wait_for("a webhook to a name without an address", "CleanclipWebhooksFail", keep=test_hook)
        compose("exec", "-T", "valkey", "valkey-cli", "lpush", "cleanclip.light", "not an id")
        watch.wait_for("a message that is no job's id", "CleanclipStrangerAtBroker")
        kill = kill_children(client, order)
        watch.wait_for("five children killed", "CleanclipChildrenCrash", keep=kill)

        job = client.jobs.create(**order)
        job_id = job.id
        wait_until(lambda: in_training(client.jobs.get(job_id)), "training begins")
        compose("stop", "sweeper")
        compose("kill", "worker")
        client.jobs.cancel(job_id)
        did = "worker killed in a job, sweeper stopped, job cancelled"
        watch.wait_for(did, "CleanclipCancellingForLong", "CleanclipSweeper", "CleanclipDown")
        compose.up("sweeper")

        waiting = client.jobs.create(**order)
        watch.wait_for("a job, and no worker for it", "CleanclipQueueStands", "CleanclipLongWait")
        compose("stop", "worker-light")
        watch.wait_for("both workers stopped", "CleanclipNoWorker")
        client.jobs.cancel(waiting.id)
        compose.up("worker", "worker-light")

        name = open_worker()
        watch.wait_for("a worker under Docker's own profile", "CleanclipIsolationLost")
        _docker("rm", "--force", name)

        def poll_slowly() -> None:
            _docker("pause", _name_of("postgres"))
            thread = threading.Thread(target=lambda: poll.get(f"/v1/jobs/{job_id}"))
            thread.start()
            time.sleep(1.5)
            _docker("unpause", _name_of("postgres"))
            thread.join()

        watch.wait_for("PostgreSQL paused for 1.5 s, again and again", "CleanclipSlow", keep=poll_slowly)
        again = connect_too_often(compose.api_port)
        watch.wait_for("3,000 connections from one address", "CleanclipConnectionsFull", keep=again)
        del again

        compose("stop", "store")

        def upload() -> None:
            for _ in range(3):
                with contextlib.suppress(httpx.HTTPError):
                    poll.post("/v1/uploads", json={"filename": "a.pt", "size_bytes": 3})

        did = "store stopped, uploads asked for"
        watch.wait_for(did, "CleanclipErrors", "CleanclipStoreRefusals", keep=upload)
        client.checkpoints.delete(order["checkpoint_id"])  # for the sweeper to fail at
        watch.wait_for("store stopped, a checkpoint deleted", "CleanclipSweepFails", keep=upload)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="alerts-") as name:
        compose = Compose(Path(name))
        compose.variables["WEBHOOKS_KEYS"] = json.dumps([urlsafe_b64encode(secrets.token_bytes(32)).decode()])
        watch = Watchers(compose, Path(name))
        try:
            break_everything(compose, watch, Path(name))
        finally:
            subprocess.run(["docker", "rm", "--force", f"{PROJECT}-open"], capture_output=True, check=False)
            compose.down()
    rules = yaml.safe_load(_RULES.read_text())["groups"][0]["rules"]
    names = {rule["alert"] for rule in rules}
    print(f"{len(names & set(watch.fired))} of {len(names)} fired; not: {sorted(names - set(watch.fired))}")
    return 0 if names <= set(watch.fired) else 1


if __name__ == "__main__":
    sys.exit(main())
