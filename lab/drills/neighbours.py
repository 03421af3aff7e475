"""One project sends dry runs or lists as fast as it may, another polls its job: what a poll waits, alone and
beside them.

Limits are the usual ones, one API process serves both. Whoever sends has 100,000 jobs, more requests under
way than may wait, and the dry runs that cost most of their kind. Polls are due at fixed times, and a latency
counts from then.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from lab.drills.drill import Place, Row
from lab.drills.filling import Ground, connect, prepare, set_class_names
from lab.drills.load_api import Api, created_job, grounded, make_key, serving
from lab.drills.load_client import Measured, Order, load, request_text
from lab.drills.processes import cpu_s, tree
from lab.testbed.writing import png

NAME = "neighbours"
TITLE = "Dry runs and lists of one project leave the polls of another alone"
POLLS_PER_S = 25.0
NUM_AT_ONCE = 48
"""More than may wait."""
NUM_LISTS = 8
MOST_P95_MS = 100.0
"""Of a poll beside dry runs, where clients, API and PostgreSQL share two cores."""
_LIMITS = {"CLEANCLIP_CONNECTIONS__MAX_PER_ADDRESS": "0"}  # all come from here


@dataclass(frozen=True, kw_only=True)
class DearOrder:
    what: str
    body: dict[str, Any]
    class_names: list[str] | None = None
    """Of the labelled set, where it needs others."""


def dear_orders(usual: dict[str, Any], other_checkpoint_id: str) -> Iterator[DearOrder]:
    """A usual order, and others whose dry run costs much: in the database, in comparing, in reading."""
    yield DearOrder(what="a usual order", body=usual)
    yield DearOrder(
        what="a model of an architecture that no earlier job had",
        body=usual | {"checkpoint_id": other_checkpoint_id},
    )
    names = _alike(5_000)
    yield DearOrder(
        what="a mistyped class among 5,000 that are like it",
        body=usual | {"audit": usual["audit"] | {"target": names[0][:-1] + "x"}},
        class_names=names,
    )
    pictures = [{"attack": "custom_patch", "image": _picture(seed)} for seed in range(2)]
    with_pictures = usual | {"audit": usual["audit"] | {"attacks": pictures}}
    yield DearOrder(what="an order with 116 KiB of images", body=with_pictures)
    wrong = [{"attack": "badnet", "at": 1, "alpha": 2} for _ in range(12_000)]
    yield DearOrder(what="48,000 values", body=usual | {"audit": usual["audit"] | {"attacks": wrong}})


def _alike(number: int) -> list[str]:
    """Class names of the same 196 letters in other orders: the dearest to compare."""
    shuffled, letters = random.Random(0), "abab" * 49
    return ["".join(shuffled.sample(letters, len(letters))) for _ in range(number)]


def _picture(seed: int) -> str:
    """As large as an image of an order may be."""
    noise = random.Random(seed).randbytes(3 * 140 * 140)
    return base64.b64encode(png(Image.frombytes("RGB", (140, 140), noise))).decode()


def _other_checkpoint(database_url: str, ground: Ground) -> str:
    """Of another architecture than the one that the jobs were made with."""
    other = prepare(database_url, ground.project_id).checkpoint_id
    with connect(database_url) as connection:
        connection.execute(
            "UPDATE checkpoints SET inspection = jsonb_set(inspection, '{architecture}', '{}') WHERE id = %s",
            (other,),
        )
    return other


def _warm_up(api: Api) -> None:
    """The first dry runs of a process and of each of its connections to the database take longer."""
    request = _dry_run(api, api.ground.order())
    load(Order(port=api.port, requests=[request], seconds=8.0, num_connections=1))


def _dry_run(api: Api, body: dict[str, Any]) -> str:
    headers = api.headers(**{"Content-Type": "application/json"})
    return request_text("POST", "/v1/jobs/dry-run", headers, json.dumps(body))


def _polls(api: Api, seconds: float) -> Measured:
    job_id, etag = created_job(api)
    conditional, whole = (
        request_text("GET", f"/v1/jobs/{job_id}", api.headers(**more))
        for more in ({"If-None-Match": etag}, {})
    )
    order = Order(
        port=api.port, requests=[conditional, whole], seconds=seconds, num_connections=4, rate=POLLS_PER_S
    )
    return load(order)


def _beside(sender: Api, neighbour: Api, request: str, num_at_once: int, seconds: float) -> dict[str, Any]:
    """The neighbour's polls while that request is sent over and over, and what became of these."""
    order = Order(port=sender.port, requests=[request], seconds=seconds + 4, num_connections=num_at_once)
    before_s = cpu_s(tree(sender.api_pid))
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(load, order)
        threading.Event().wait(2.0)
        polls = _polls(neighbour, seconds)
        found = sent.result()
    return {
        "polls": _figures(polls),
        "sent": found.statuses,
        "sent_per_s": found.per_second,
        "api_cpu_share": (cpu_s(tree(sender.api_pid)) - before_s) / found.seconds,
    }


def _figures(polls: Measured) -> dict[str, Any]:
    return {
        "num": len(polls.latencies_s),
        "p50_ms": polls.quantile_ms(0.5),
        "p95_ms": polls.quantile_ms(0.95),
        "most_ms": polls.quantile_ms(1.0),
        "statuses": polls.statuses,
        "num_broken": polls.num_broken,
    }


def run(place: Place, *, quick: bool) -> list[Row]:
    """Each kind of dry run in turn; before each the same polls alone."""
    seconds, num_jobs = (4.0, 1_000) if quick else (20.0, 100_000)
    with grounded(place.folder, num_jobs=num_jobs) as (stack, ground):
        url = stack.settings().database.url
        other_id = _other_checkpoint(url, ground)
        theirs = make_key(stack, "neighbour")
        with serving(place.folder, stack, ground, project="load", limits=_LIMITS) as sender:
            neighbour = replace(sender, key=theirs["key"], ground=prepare(url, theirs["project_id"]))
            _warm_up(sender)
            rows = []

            def beside(what: str, request: str, num_at_once: int) -> None:
                place.say(what)
                alone = _figures(_polls(neighbour, seconds))
                found = _beside(sender, neighbour, request, num_at_once, seconds)
                rows.append(_row(f"{what}, {num_at_once} at once", num_jobs, alone, found))

            for order in dear_orders(ground.order(), other_id):
                if order.class_names is not None:
                    set_class_names(url, ground, order.class_names)
                beside(f"dry runs of {order.what}", _dry_run(sender, order.body), NUM_AT_ONCE)
            beside("lists", request_text("GET", "/v1/jobs", sender.headers()), NUM_LISTS)
    return rows


def _row(what: str, num_jobs: int, alone: dict[str, Any], found: dict[str, Any]) -> Row:
    beside = found["polls"]
    wrong = sum(num for status, num in beside["statuses"].items() if status not in ("200", "304"))
    is_answered = beside["num"] > 0 and not wrong and not beside["num_broken"]
    return Row(
        broken=f"{what}, by a project of {num_jobs} jobs",
        times=sum(found["sent"].values()),
        expected=f"each poll of another project answered; beside them p95 < {MOST_P95_MS:g} ms",
        happened=f"poll alone {_text(alone)}; beside {_text(beside)};"
        f" {found['sent_per_s']:.1f} of them answered a second {found['sent']};"
        f" the API took {100 * found['api_cpu_share']:.0f} % of a core",
        lost=wrong + beside["num_broken"],
        ok=is_answered and beside["p95_ms"] < MOST_P95_MS,
    )


def _text(polls: dict[str, Any]) -> str:
    return f"p50 {polls['p50_ms']:.1f}, p95 {polls['p95_ms']:.1f}, at most {polls['most_ms']:.0f} ms"
