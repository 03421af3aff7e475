"""Live events of a real server process: each once, in order, whatever breaks; nothing is held meanwhile."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain, islice

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.local.processes import free_ports
from app.services import api_keys
from app.services.following import MAX_EVENTS_AT_ONCE
from app.settings import Settings
from app.storage.s3 import S3Store
from cleanclip.sync.client import Client
from cleanclip.sync.following import Frame, frames
from lab.drills.followers import Ground, observe
from tests.integration.api.live import Live, Process, vanish
from tests.integration.api.service import refused
from tests.integration.cleanclip.served import Served, new_key
from tests.integration.worker.world import wait_until

LIMIT = 12
POOL_SIZE = 2
OWN = {
    "STREAMS__LOOK_EVERY_S": "0.1",
    "STREAMS__HEARTBEAT_S": "0.3",
    "STREAMS__SEND_TIMEOUT_S": "0.5",
    "API__KEY_CACHE_S": "0.3",
    "QUOTAS__OPEN_STREAMS": str(LIMIT),
    "DATABASE__POOL_SIZE": str(POOL_SIZE),
}


@pytest.fixture(scope="module")
def live(
    service_settings: Settings,
    service_environment: dict[str, str],
    object_store: S3Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    (port,) = free_ports(1)
    own = {f"CLEANCLIP_{name}": value for name, value in OWN.items()} | {"CLEANCLIP_API__PORT": str(port)}
    log = tmp_path_factory.mktemp("live") / "log"
    process = Process(f"http://127.0.0.1:{port}", service_environment | own, log)
    database = Database(build_engine(service_settings.database.url, role=Role.OPERATOR))
    project_id, key = new_key(database, "ours")
    _, their_key = new_key(database, "theirs")
    served = Served(url=process.url, database=database, store=object_store, project_id=project_id, key=key)
    process.start()
    yield Live(process, served, their_key)
    process.stop()
    database.dispose()
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]


@pytest.fixture(autouse=True)
def nobody_follows(live: Live) -> Iterator[None]:
    yield
    live.closed()


def events_of(found: list[Frame]) -> list[Frame]:
    return [frame for frame in found if frame.id is not None]


def seqs(found: list[Frame]) -> list[int]:
    return [int(str(frame.id)) for frame in events_of(found)]


def test_a_job_is_followed_from_its_first_event_to_its_end(live: Live) -> None:
    job_id = live.job()
    found: list[Frame] = []
    with live.stream(job_id) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "ratelimit" in answer.headers, "it is counted, as one request"
        for frame in frames(answer.iter_bytes()):
            if frame is None:
                continue
            found.append(frame)
            if len(found) == 2:  # created, and how it stands
                attempt = live.ours.claim(job_id)
                live.beat(job_id, attempt, 0.25)
                live.note(job_id, attempt, message="<b>\u2028\r\n\nid: 9")
            if frame.event == "noted":
                live.finish(job_id, attempt)
    listed = live.get(f"/v1/jobs/{job_id}/events").json()["data"]
    assert [json.loads(frame.data) for frame in events_of(found)] == listed
    assert [(frame.id, frame.event) for frame in events_of(found)] == [
        (str(event["seq"]), event["type"]) for event in listed
    ]
    standing = [json.loads(frame.data) for frame in found if frame.event == "job"]
    assert [one["state"] for one in standing][:: len(standing) - 1] == ["queued", "running"]
    assert 0.25 in [one["progress"]["fraction"] for one in standing], "progress is not an event, and is told"
    assert found[-1].event == "done"
    assert json.loads(found[-1].data) == live.get(f"/v1/jobs/{job_id}").json()


def test_a_stream_begins_after_the_event_that_is_named(live: Live) -> None:
    job_id = live.job()
    attempt = live.ours.claim(job_id)
    live.finish(job_id, attempt)
    everything = seqs(live.whole(job_id))
    last = everything[-1]
    assert everything == list(range(1, last + 1))
    assert seqs(live.whole(job_id, after=2)) == everything[2:]
    assert seqs(live.whole(job_id, after=1, **{"Last-Event-ID": "3"})) == everything[3:], "the later one wins"
    ended = live.whole(job_id, **{"Last-Event-ID": str(last)})
    assert [frame.event for frame in ended] == ["done"], "who missed only the end gets it"


def test_one_who_comes_late_gets_everything_and_doubles_nothing_for_the_others(live: Live) -> None:
    job_id = live.job()
    attempt = live.ours.claim(job_id)
    live.note(job_id, attempt, n=1)
    with live.stream(job_id) as early, live.stream(job_id) as late:
        streams = [(frame for frame in frames(one.iter_bytes()) if frame) for one in (early, late)]
        seen = [list(islice(streams[0], 4)), list[Frame]()]  # three events, and how it stands
        seen[1] += islice(streams[1], 4)
        live.note(job_id, attempt, n=2)
        with live.stream(job_id, after=1) as latest:
            assert seqs([frame for frame in islice(frames(latest.iter_bytes()), 4) if frame]) == [2, 3, 4]
            live.finish(job_id, attempt)
        seen[0] += streams[0]
        seen[1] += streams[1]
    numbers = list(range(1, seqs(seen[0])[-1] + 1))
    assert [seqs(found) for found in seen] == [numbers, numbers]


def test_a_job_with_more_events_than_one_look_takes_is_given_whole(live: Live) -> None:
    job_id = live.job()
    attempt = live.ours.claim(job_id)
    with live.ours.database.unit_of_work() as unit:
        for number in range(230):
            unit.attempts.record_event(job_id, attempt, "noted", {"n": number})
    live.finish(job_id, attempt)
    found = live.whole(job_id)
    assert seqs(found) == list(range(1, len(events_of(found)) + 1))
    assert len(found) > 230 > MAX_EVENTS_AT_ONCE
    assert found[-1].event == "done"


def test_a_stream_without_news_says_that_it_lives(live: Live) -> None:
    job_id = live.job()
    beats: list[float] = []
    with live.stream(job_id, after=1) as answer:
        for frame in frames(answer.iter_bytes()):
            if frame is None:
                beats.append(time.monotonic())
            if len(beats) == 8:  # the greeting and seven beats
                break
    assert 0.2 < (beats[7] - beats[1]) / 6 < 2.0


@pytest.mark.parametrize("sent", ["-1", "1.5", "abc", "", "9" * 30, "1\u00b2", "0x1"])
def test_an_event_number_that_is_none_is_refused(live: Live, sent: str) -> None:
    with live.stream(live.job(), **{"Last-Event-ID": sent}) as answer:  # type: ignore[arg-type]
        answer.read()
        body = refused(answer, 422, "invalid_request")
    assert [error["parameter"] for error in body["errors"]] == ["Last-Event-ID"]


def test_what_cannot_be_followed_is_refused_before_anything_is_sent(live: Live) -> None:
    job_id = live.job()
    path = f"{live.process.url}/v1/jobs/{job_id}/events/stream"
    reported = refused(
        live.get(f"/v1/jobs/{job_id}/events/stream", params={"after": "2"}), 422, "event_unknown"
    )
    assert "its last one is 1" in reported["detail"]
    refused(live.get(f"/v1/jobs/{job_id}/events/stream", params={"after": "x"}), 422, "invalid_request")
    refused(httpx.get(path), 401, "key_missing")
    theirs = {"Authorization": f"Bearer {live.their_key}"}
    foreign = refused(httpx.get(path, headers=theirs), 404, "job_not_found")
    absent_id = "job_" + "0" * 26
    absent = refused(httpx.get(path.replace(job_id, absent_id), headers=theirs), 404, "job_not_found")
    assert foreign["detail"].replace(job_id, "ID") == absent["detail"].replace(absent_id, "ID")
    head = httpx.head(path, headers=live.headers)
    assert (head.status_code, head.content) == (200, b""), "as GET, and it ends with its head"
    assert head.headers["content-type"].startswith("text/event-stream")


def test_over_a_restart_of_the_api_every_follower_sees_every_event_once(live: Live) -> None:
    """The drill `followers`, small; one more follower is the client."""
    ground = Ground(
        port=int(live.process.url.rpartition(":")[2]),
        key=live.ours.key,
        database=live.ours.database,
        job_ids=[live.job() for _ in range(3)],
    )
    seen: list[int] = []

    def restart() -> None:
        live.process.stop()
        live.process.start()

    with Client(live.process.url, live.ours.key) as client:
        job_id = ground.job_ids[0]
        follower = threading.Thread(target=lambda: seen.extend(e.seq for e in client.jobs.follow(job_id)))
        follower.start()
        reported = observe(
            ground,
            num_followers=LIMIT - 1,
            events_per_job=20,
            seconds=1.5,
            meanwhile=restart,
            settled=lambda: wait_until(lambda: live.num_open() == LIMIT),
        )
        follower.join(30)
    assert (reported.lost, reported.doubled, reported.disordered) == (0, 0, 0)
    assert reported.num_events > (LIMIT - 1) * 20
    assert reported.num_cut == 0, "each stream was ended, none was cut off"
    assert reported.num_streams >= 2 * (LIMIT - 1)
    assert seen == [event["seq"] for event in live.get(f"/v1/jobs/{job_id}/events").json()["data"]]


def test_a_revoked_key_and_a_deleted_job_end_a_stream_within_seconds(live: Live) -> None:
    job_id, doomed = live.job(), live.job()
    with live.ours.database.unit_of_work() as unit:
        row, key = api_keys.issue(unit, project_id=live.ours.project_id, name="soon revoked", scopes=["read"])
    with live.stream(job_id, key=key) as revoked, live.stream(doomed) as deleted, live.stream(job_id) as kept:
        streams = [frames(one.iter_bytes()) for one in (revoked, deleted, kept)]
        assert [next(one) for one in streams] == [None] * 3, "greetings"
        with live.ours.database.unit_of_work() as unit:
            unit.api_keys.revoke(live.ours.project_id, row.id)
            unit.jobs.get(live.ours.project_id, doomed).deleted_at = row.created_at
        began = time.monotonic()
        for frame in chain(*streams[:2]):
            assert frame is None or frame.event != "done"
            assert time.monotonic() - began < 6.0, "they go on"
        assert [frame for frame in (next(streams[2]), next(streams[2])) if frame is not None], "others go on"
    path = f"{live.process.url}/v1/jobs/{job_id}/events/stream"
    refused(httpx.get(path, headers={"Authorization": f"Bearer {key}"}), 401, "invalid_key")
    refused(live.get(f"/v1/jobs/{doomed}/events/stream"), 404, "job_not_found")


def test_a_project_may_hold_so_many_streams_and_a_client_that_vanishes_gives_its_place_back(
    live: Live,
) -> None:
    job_id = live.job()
    path = f"/v1/jobs/{job_id}/events/stream"
    with ExitStack() as stack:
        held = [stack.enter_context(live.stream(job_id)) for _ in range(LIMIT - 1)]
        vanishing = live.connection(job_id)
        assert vanishing.recv(12) == b"HTTP/1.1 200"
        body = refused(live.get(path), 429, "too_many_streams")
        assert body["quota"] == {"name": "open_streams", "limit": LIMIT, "current": LIMIT, "wanted": 1}
        assert live.status(live.job()) == 429, "whichever job it is"
        theirs = httpx.get(live.process.url + path, headers={"Authorization": f"Bearer {live.their_key}"})
        assert theirs.status_code == 404, "another project is not held up"
        with Client(live.process.url, live.ours.key) as client:
            assert next(client.jobs.follow(job_id)).seq == 1, "refused, a client polls"
        vanish(vanishing)
        deadline = time.monotonic() + 5
        while live.status(job_id) == 429:
            assert time.monotonic() < deadline, "the place of the one that vanished is still taken"
        assert all(one.status_code == 200 for one in held)


def test_a_client_that_takes_nothing_is_dropped_and_holds_up_nobody(live: Live) -> None:
    job_id = live.job()
    attempt = live.ours.claim(job_id)
    slow = live.connection(job_id, buffer=4096)
    quick: list[int] = []
    with Client(live.process.url, live.ours.key) as client:
        follower = threading.Thread(target=lambda: quick.extend(e.seq for e in client.jobs.follow(job_id)))
        follower.start()
        for _ in range(40):
            live.note(job_id, attempt, much="x" * 250_000)
        deadline = time.monotonic() + 10
        while live.num_open() != 1:
            assert time.monotonic() < deadline, "the one that takes nothing is still there"
            time.sleep(0.1)
        live.finish(job_id, attempt)
        follower.join(20)
    vanish(slow)
    assert quick == list(range(1, len(quick) + 1))
    assert len(quick) > 40
    assert "slow_follower_dropped" in live.process.log.read_text()


def test_followers_hold_no_connection_to_the_database(live: Live, service_settings: Settings) -> None:
    job_id = live.job()
    url = make_url(service_settings.database.url).set(drivername="postgresql", username="postgres")
    query = """SELECT count(*), count(*) FILTER (WHERE xact_start < clock_timestamp() - interval '1 second')
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend' AND query NOT LIKE '%%cleanclip_operator%%'"""
    with ExitStack() as stack:
        held = [stack.enter_context(live.stream(job_id)) for _ in range(LIMIT)]
        watching = stack.enter_context(psycopg.connect(url.render_as_string(hide_password=False)))
        watching.autocommit = True
        for _ in range(10):
            row = watching.execute(query).fetchone()
            assert row is not None
            assert row[0] <= POOL_SIZE + 1, "and the tests' own, idle"
            assert row[1] == 0, "no transaction stays open"
            assert live.get(f"/v1/jobs/{job_id}").status_code == 200
            time.sleep(0.05)
        assert len(held) == LIMIT > POOL_SIZE
