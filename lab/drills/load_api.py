"""The API under load: polls with and without ETag, pages of a long list, orders; one process and several.

The client (lab/drills/load_client.py) runs beside it on the same cores. What else the machine does shows in
the requests per second; processor time per request, of API and database, is steadier, and given with them.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.local.service import Service, ServiceOptions, service_environment
from app.local.stack import Stack
from lab.drills.drill import Place, Row
from lab.drills.filling import Ground, fill, prepare
from lab.drills.load_client import Measured, Order, load, request_text
from lab.drills.processes import cpu_s, memory_mib, output_of, tree
from lab.drills.records import ROOT

NAME = "load_api"
TITLE = "The API under load"

AIM_PER_S = 2000
AIM_P99_MS = 20.0
NUM_CONNECTIONS = 16
NO_LIMITS = {
    "CLEANCLIP_QUOTAS__REQUESTS_PER_MINUTE": "100000000",
    "CLEANCLIP_QUOTAS__WAITING_JOBS": "100000000",
    "CLEANCLIP_QUOTAS__OPEN_STREAMS": "100000000",
    "CLEANCLIP_CONNECTIONS__MAX_PER_ADDRESS": "0",  # all come from here
}


@dataclass(frozen=True, kw_only=True)
class Api:
    """A running API alone: stack, no workers."""

    port: int
    key: str
    ground: Ground
    api_pid: int
    stack_folder: Path

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Accept": "application/json", **more}

    def reported(self, method: str, path: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
        """The answer. Raises RuntimeError where it is a refusal."""
        status, text = asked(self.port, method, path, headers, body, timeout_s=600)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {text}")
        found: dict[str, Any] = json.loads(text)
        return found

    def metric(self, name: str) -> float:
        """One without labels, as a scrape has it now."""
        _, text = asked(self.port, "GET", "/metrics", {})
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def asked(
    port: int, method: str, path: str, headers: dict[str, str], body: Any = None, *, timeout_s: float = 60
) -> tuple[int, str]:
    """Status and text of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def grounded(folder: Path, *, num_jobs: int = 0) -> Iterator[tuple[Stack, Ground]]:
    """The stack alone, migrated, with the project `load` that holds `num_jobs` jobs."""
    with Stack(folder / "stack", environ=dict(os.environ)) as stack:
        _cli(service_environment(stack.environment), "migrate")
        project_id = make_key(stack, "load")["project_id"]
        database_url = stack.settings().database.url
        ground = prepare(database_url, project_id)
        fill(database_url, ground, num_jobs)
        yield stack, ground


@contextmanager
def running(folder: Path, *, num_processes: int = 1, num_jobs: int = 0) -> Iterator[tuple[Api, Stack]]:
    """Stack and API, with a project that holds `num_jobs` jobs."""
    with (
        grounded(folder, num_jobs=num_jobs) as (stack, ground),
        serving(folder, stack, ground, project="load", num_processes=num_processes) as api,
    ):
        yield api, stack


@contextmanager
def serving(
    folder: Path,
    stack: Stack,
    ground: Ground,
    *,
    project: str = "migrations",
    num_processes: int = 1,
    port: int = 0,
    limits: Mapping[str, str] = NO_LIMITS,
) -> Iterator[Api]:
    """The API on a stack whose database is ready; without `limits` for what it can do at most."""
    own = {"CLEANCLIP_API__NUM_PROCESSES": str(num_processes), **limits}
    environment = service_environment({**stack.environment, **own})
    options = ServiceOptions(root=ROOT, folder=folder / "logs", port=port, with_worker=False)
    service = Service(options, environment).start()
    try:
        yield Api(
            port=int(service.url.rpartition(":")[2]),
            key=make_key(stack, project)["key"],
            ground=ground,
            api_pid=service.processes["api"].pid,
            stack_folder=stack.folder,
        )
    finally:
        service.stop()


def make_key(stack: Stack, project: str) -> dict[str, str]:
    """{"project_id", "key_id", "key"} of a new key of the project of that name."""
    made: dict[str, str] = json.loads(
        _cli(service_environment(stack.environment), "create-key", "--project", project, "--json")
    )
    return made


def _cli(environment: dict[str, str], *arguments: str) -> str:
    return output_of(sys.executable, "-m", "app.cli", *arguments, environment=environment)


def measure(api: Api, what: str, requests: list[str], seconds: float, num_processes: int) -> dict[str, Any]:
    """Ask for a second without counting, then count: one kind of request, processor time a request."""
    order = Order(port=api.port, requests=requests, seconds=seconds, num_connections=NUM_CONNECTIONS)
    load(replace(order, seconds=min(1.0, seconds)))
    before_api, before_database = _cpu(api)
    found: Measured = load(order)
    after_api, after_database = _cpu(api)
    num = max(1, len(found.latencies_s))
    return {
        "what": what,
        "num_processes": num_processes,
        "per_s": found.per_second,
        "p50_ms": found.quantile_ms(0.5),
        "p99_ms": found.quantile_ms(0.99),
        "statuses": found.statuses,
        "num_broken": found.num_broken,
        "api_cpu_ms": 1000 * (after_api - before_api) / num,
        "database_cpu_ms": 1000 * (after_database - before_database) / num,
        "memory_mib": memory_mib(tree(api.api_pid)),
    }


def _cpu(api: Api) -> tuple[float, float]:
    postmaster = (api.stack_folder / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8")
    return cpu_s(tree(api.api_pid)), cpu_s(tree(int(postmaster.split("\n", 1)[0])))


def created_job(api: Api) -> tuple[str, str]:
    """The id and ETag of a fresh job."""
    headers = api.headers(**{"Content-Type": "application/json"})
    body = api.reported("POST", "/v1/jobs", headers, json.dumps(api.ground.order()))
    return body["id"], f'"{body["etag"]}"'


def requests_of(api: Api) -> dict[str, list[str]]:
    """By what they are: the requests that are measured."""
    job_id, etag = created_job(api)
    here = f"/v1/jobs/{job_id}"
    order = json.dumps({**api.ground.order(), "metadata": {"n": "{n}"}})
    posted = api.headers(**{"Content-Type": "application/json"})
    return {
        "poll, unchanged (ETag)": [request_text("GET", here, api.headers(**{"If-None-Match": etag}))],
        "poll, whole job": [request_text("GET", here, api.headers())],
        "list, first page of 20": [request_text("GET", "/v1/jobs", api.headers())],
        "list, a page in the middle": [
            request_text("GET", f"/v1/jobs?after=job_{50_000:026d}", api.headers())
        ],
        "create a job": [request_text("POST", "/v1/jobs", posted, order)],
        "healthz (no key, no database)": [request_text("GET", "/healthz", {})],
    }


def run(place: Place, *, quick: bool) -> list[Row]:
    seconds = 1.0 if quick else 8.0
    num_jobs = 1_000 if quick else 100_000
    rows = []
    for num_processes in (2,) if quick else (1, 2):
        found = place.piece(
            f"{num_processes} processes", partial(_measured, place, num_processes, num_jobs, seconds)
        )
        rows += [_row(figures, num_jobs) for figures in found["figures"]]
    return rows


def _measured(place: Place, num_processes: int, num_jobs: int, seconds: float) -> dict[str, Any]:
    figures = []
    folder = place.folder / str(num_processes)
    with running(folder, num_processes=num_processes, num_jobs=num_jobs) as (api, _stack):
        for what, requests in requests_of(api).items():
            place.say(f"{num_processes} processes: {what}")
            figures.append(measure(api, what, requests, seconds, num_processes))
    return {"figures": figures}


def _row(found: dict[str, Any], num_jobs: int) -> Row:
    """Speed is the machine's too: reported, not judged. Every request must be answered as it should."""
    expected = {"poll, unchanged (ETag)": "304", "create a job": "202"}.get(found["what"], "200")
    num = sum(found["statuses"].values())
    good = found["statuses"].get(expected, 0)
    aim = f"; aim {AIM_PER_S}/s, p99 < {AIM_P99_MS:g} ms" if found["what"].startswith("poll") else ""
    return Row(
        broken=f"{found['num_processes']} API process(es), {num_jobs} jobs, {NUM_CONNECTIONS} connections: "
        + found["what"],
        times=num,
        expected=f"all answered {expected}{aim}",
        happened=f"{found['per_s']:.0f}/s, p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms; "
        f"processor time per request {found['api_cpu_ms']:.2f} ms API, "
        f"{found['database_cpu_ms']:.2f} ms database; API {found['memory_mib']:.0f} MiB; {found['statuses']}",
        lost=num - good + found["num_broken"],
        ok=good == num > 0 and not found["num_broken"],
    )
