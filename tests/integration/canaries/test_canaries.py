"""No secret leaves the service, and what customers call their things shows up only where it belongs."""

from collections.abc import Mapping

import pytest

from tests.fakes.webhook_receiver import Receiver
from tests.integration.canaries import collecting
from tests.integration.canaries.conftest import Scene
from tests.integration.canaries.search import Canaries, Canary, leaks
from tests.integration.worker.world import wait_until

PLACES_THAT_MUST_HAVE_SOMETHING = {
    "log/api",
    "log/worker",
    "log/sweeper",
    "log/webhooks",
    "answer/given",
    "answer/refused",
    "answer/metrics",
    "object/outputs",
    "object/checkpoints",
    "rows/jobs",
    "rows/trail_entries",
    "broker/all",
    "child/environ",
    "child/cmdline",
    "child/folder",
    "child/inputs",
}


@pytest.fixture(scope="module")
def places(scene: Scene) -> Mapping[str, bytes]:
    """Everything that left, after the journey and its accidents."""
    journey = scene.journey
    journey.make_key()
    with Receiver() as receiver:
        deliveries = journey.make_webhook(receiver)
        checkpoint = journey.upload()
        journey.order(checkpoint, journey.register("pairs"), journey.register("labelled"))
        wait_until(lambda: len({message.id for message in receiver.messages}) >= 5)
        journey.record("GET", deliveries, journey.key)
    reported = {f"message/{number}": message.body for number, message in enumerate(receiver.messages)}
    journey.be_refused()
    journey.say_it_in_the_path()
    journey.lose_the_store()
    journey.lose_the_database()
    journey.wait_for_a_lock()
    journey.meet_a_bug(scene.owner)
    metrics = journey.record("GET", "/metrics").content
    for number, signature in enumerate(sorted(journey.record.signatures)):
        journey.canaries.keep(f"signature_{number}", signature, ["answer/given"])
    return {
        **journey.record.places,
        **reported,
        "answer/metrics": metrics,
        **collecting.logs(scene.logs),
        **collecting.rows(scene.operator),
        **collecting.objects(journey.store),
        **collecting.broker(scene.settings.broker.url),
        **journey.seen_of_child,
    }


def test_no_canary_is_where_it_does_not_belong(places: Mapping[str, bytes], canaries: Canaries) -> None:
    kinds = {canary.kind for canary in canaries.kept}
    assert len(kinds) > 20
    print(f"\n{len(canaries.kept)} canaries in {len(places)} places, {sum(map(len, places.values()))} bytes")
    found = leaks(canaries.kept, places)
    assert not found, "\n\n".join(found)


def test_every_place_was_really_looked_at(places: Mapping[str, bytes]) -> None:
    assert sorted(name for name in PLACES_THAT_MUST_HAVE_SOMETHING if not places.get(name)) == []
    for process in ("api", "worker"):
        assert places[f"log/{process}"].count(b"\n") > 10
    assert b"part_unavailable" in places["log/api"], "the outages were told"
    assert b"request_failed" in places["log/api"], "so was the bug"
    assert b"attempt_failed" in places["log/worker"], "so was the child's death"


def test_the_real_process_sends_safe_headers_and_no_banner_with_every_answer_outages_included(
    scene: Scene, places: Mapping[str, bytes]
) -> None:
    assert all(status in places["answer/refused"] for status in (b"500\n", b"503\n", b"422\n", b"401\n"))
    assert scene.journey.record.faults == []


def test_the_owner_still_gets_what_her_own_child_said(places: Mapping[str, bytes]) -> None:
    assert b"no such caption" in places["rows/jobs"]
    assert b"no such caption" in places["answer/given"]


@pytest.mark.parametrize(
    "written", ["canaryplanted0a1b2c", "Y2FuYXJ5cGxhbnRlZDBhMWIyYw", "dXNlcjpjYW5hcnlwbGFudGVkMGExYjJj"]
)
def test_the_search_finds_a_planted_canary_plain_and_in_base64(written: str) -> None:
    canary = Canary(kind="planted", text="canaryplanted0a1b2c", allowed=frozenset({"rows/jobs"}))
    line = f'{{"event": "request", "header": "Basic {written}"}}'.encode()
    (found,) = leaks([canary], {"log/api": line, "rows/jobs": line, "answer/refused": b"nothing"})
    assert found.startswith("planted in log/api: ")


def test_the_search_says_when_a_canary_was_never_used() -> None:
    canary = Canary(kind="unused", text="canaryunused", expected=frozenset({"rows/jobs"}))
    assert leaks([canary], {"rows/jobs": b"nothing"}) == ["unused is not even in rows/jobs"]
