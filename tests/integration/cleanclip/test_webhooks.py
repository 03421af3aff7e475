"""Webhooks through library and command, against the real API; what arrives is verified."""

import json
from collections.abc import Iterator

import pytest

from app.db.roles import Role
from app.db.sealing import Sealer
from app.db.session import Database, build_engine
from app.domain.webhook_urls import ReachRules
from app.settings import Settings
from cleanclip.command.exit_codes import ExitCode
from cleanclip.errors import Conflict, InvalidInput, NotFound, UnexpectedAnswer
from cleanclip.sync.client import Client
from cleanclip.webhook_verification import WebhookRejected, verify
from tests.fakes.webhook_receiver import Receiver, answering
from tests.fixtures.webhooks import WEBHOOKS_KEY
from tests.integration.cleanclip.served import Served
from tests.integration.cleanclip.test_command import cleanclip, ended
from worker.webhooks.delivering import Deliverer
from worker.webhooks.sending import Sender

URL = "https://example.org/hooks"


@pytest.fixture(autouse=True)
def none_left(served: Served) -> Iterator[None]:
    yield
    with Client(served.url, served.key) as client:
        for found in client.webhooks.list(limit=100).data:
            client.webhooks.delete(found.id)


@pytest.fixture
def deliverer(service_settings: Settings) -> Iterator[Deliverer]:
    database = Database(build_engine(service_settings.database.url, role=Role.WORKER))
    sender = Sender(ReachRules(allow_loopback=True), timeout_s=5.0)
    yield Deliverer(database, Sealer([WEBHOOKS_KEY]), sender.post)
    database.dispose()


def test_a_webhook_is_made_changed_rotated_and_deleted(client: Client) -> None:
    made = client.webhooks.create(URL, events=["job.failed"])
    assert made.secret is not None
    assert made.secret not in repr(made)
    assert URL not in repr(made), "an address may hold a secret, too"
    assert client.webhooks.get(made.id).events == ("job.failed",)
    changed = client.webhooks.update(made.id, url=URL + "/2", events=["job.succeeded"], enabled=False)
    assert (changed.url, changed.events, changed.state) == (URL + "/2", ("job.succeeded",), "disabled")
    assert client.webhooks.update(made.id, enabled=True).state == "enabled"
    rotated = client.webhooks.rotate_secret(made.id)
    assert rotated.secret not in {None, made.secret}
    with pytest.raises(Conflict):
        client.webhooks.rotate_secret(made.id)
    assert client.webhooks.rotate_secret(made.id, overlap_s=0).previous_secret_ends_at is None
    assert [found.id for found in client.webhooks.list().data] == [made.id]
    client.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        client.webhooks.get(made.id)
    with pytest.raises(InvalidInput):
        client.webhooks.create("http://10.0.0.1/")


def test_a_secret_whose_answer_was_lost_is_told_so(client: Client) -> None:
    client.webhooks.create(URL, idempotency_key="lost")
    with pytest.raises(UnexpectedAnswer, match="shown only once: rotate it"):
        client.webhooks.create(URL, idempotency_key="lost")


def test_what_arrives_verifies_fails_is_listed_and_is_replayed(
    client: Client, served: Served, deliverer: Deliverer
) -> None:
    made = client.webhooks.create(URL)
    assert made.secret is not None
    with Receiver() as receiver:
        with served.database.unit_of_work() as unit:  # the API of this test takes public addresses only
            unit.webhooks.hold(served.project_id, made.id).url = receiver.url
        receiver.behaves(answering(410, b"no more"))
        queued = client.webhooks.test(made.id)
        assert (queued.state, queued.event) == ("pending", "webhook.test")
        deliverer.deliver_due()
        (failed,) = client.webhooks.deliveries(made.id, state="failed").data
        assert failed.last_try is not None
        assert (failed.last_try.status, failed.last_try.excerpt) == (410, "no more")
        assert client.webhooks.get(made.id).disabled_reason == "gone"
        with pytest.raises(Conflict):
            client.webhooks.replay(made.id, failed.id)
        client.webhooks.update(made.id, enabled=True)
        receiver.behaves(answering(200))
        assert client.webhooks.replay(made.id, failed.id).state == "pending"
        deliverer.deliver_due()
        assert client.webhooks.delivery(made.id, failed.id).state == "delivered"
        first, again = receiver.messages
        for message in (first, again):
            reported = verify(message.headers, message.body, made.secret)
            assert (reported.id, reported.type, reported.data["id"]) == (
                failed.message_id,
                "webhook.test",
                made.id,
            )
        with pytest.raises(WebhookRejected):
            verify(again.headers, again.body + b" ", made.secret)


def test_the_command_makes_shows_tests_and_deletes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANCLIP_URL", served.url)
    monkeypatch.setenv("CLEANCLIP_API_KEY", served.key)
    out, err = ended(cleanclip("webhooks", "create", URL, "--event", "job.failed"))
    assert out.startswith("whsec_")
    assert out.strip() not in err
    webhook_id = err.split()[0]
    assert URL in ended(cleanclip("webhooks", "ls"))[0]
    shown = ended(cleanclip("webhooks", "update", webhook_id, "--disable"))[0]
    assert "disabled (requested)" in shown
    ended(cleanclip("webhooks", "test", webhook_id), ExitCode.REFUSED)
    ended(cleanclip("webhooks", "update", webhook_id, "--enable", "--event", "job.succeeded"))
    queued = json.loads(ended(cleanclip("webhooks", "test", webhook_id, "--json"))[0])
    assert queued["id"] in ended(cleanclip("webhooks", "deliveries", webhook_id, "--state", "pending"))[0]
    assert queued["id"] in ended(cleanclip("webhooks", "replay", webhook_id, queued["id"]))[0]
    assert "job.succeeded" in ended(cleanclip("webhooks", "show", webhook_id))[0]
    rotated = json.loads(ended(cleanclip("webhooks", "rotate-secret", webhook_id, "--json"))[0])
    assert rotated["secret"].startswith("whsec_")
    ended(cleanclip("webhooks", "rm", webhook_id))
    ended(cleanclip("webhooks", "show", webhook_id), ExitCode.NOT_FOUND)
