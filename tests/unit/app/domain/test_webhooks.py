"""When a delivery is tried again, what a message says, and that the standard's library takes it."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app.domain.webhook_messages import (
    JITTER,
    MAX_TRIES,
    WAITS_S,
    Answer,
    WebhookEvent,
    body_of,
    message_data,
    new_secret,
    signed_headers,
    wait_s,
)

BODY = body_of(
    WebhookEvent.JOB_SUCCEEDED, datetime.now(UTC), message_data("job", "job_1", "/v1/jobs", state="succeeded")
)


def test_tries_go_on_for_three_days_with_growing_pauses_and_then_end() -> None:
    waits = [wait_s(num, luck=0.0) for num in range(1, MAX_TRIES + 1)]
    assert waits == [*WAITS_S, None]
    assert sorted(WAITS_S) == list(WAITS_S)
    assert 3 * 86_400 < sum(WAITS_S) < 4 * 86_400


def test_luck_spreads_the_pauses_and_only_makes_them_longer() -> None:
    for num, planned in enumerate(WAITS_S, start=1):
        latest = wait_s(num, luck=0.999999)
        assert latest is not None
        assert planned < latest < planned * (1 + JITTER)


def test_a_server_that_asks_for_patience_gets_it_up_to_a_day() -> None:
    assert wait_s(1, luck=0.0, retry_after_s=90) == 90
    assert wait_s(3, luck=0.0, retry_after_s=90) == WAITS_S[2]
    assert wait_s(1, luck=0.0, retry_after_s=1e9) == 86_400
    assert wait_s(MAX_TRIES, luck=0.0, retry_after_s=90) is None


def test_only_410_is_gone() -> None:
    assert Answer(error=None, status=410).is_gone
    assert not any(Answer(error=None, status=status).is_gone for status in (None, 200, 404, 409, 411))


def test_a_body_is_json_of_type_time_and_data_and_the_same_every_time() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    data = message_data("job", "job_1", "/v1/jobs", kind="audit", state="failed")
    body = body_of(WebhookEvent.JOB_FAILED, at, data)
    assert json.loads(body) == {
        "type": "job.failed",
        "timestamp": "2026-01-02T03:04:05.000678Z",
        "data": {
            "object": "job",
            "id": "job_1",
            "kind": "audit",
            "state": "failed",
            "links": {"self": "/v1/jobs/job_1"},
        },
    }
    shuffled = dict(reversed(data.items()))
    elsewhere = at.astimezone(tz=None)
    assert body_of(WebhookEvent.JOB_FAILED, elsewhere, shuffled) == body


def test_a_secret_is_32_random_bytes_in_the_standards_form() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) == 32


def now_s() -> int:
    """Asked in the test: what was signed when the file was collected is too old by then."""
    return int(datetime.now(UTC).timestamp())


def test_the_standards_own_library_takes_what_we_sign_and_nothing_else() -> None:
    at_s = now_s()
    secret = new_secret()
    headers = dict(signed_headers([secret], message_id="msg_1", timestamp_s=at_s, body=BODY))
    assert Webhook(secret).verify(BODY, headers)["type"] == "job.succeeded"
    for changed in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(at_s - 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_we_sign_as_the_standards_own_library_does() -> None:
    at_s, secret = now_s(), new_secret()
    at = datetime.fromtimestamp(at_s, UTC) + timedelta(seconds=0.9)
    theirs = Webhook(secret).sign("msg_1", at, BODY.decode())
    ours = signed_headers([secret], message_id="msg_1", timestamp_s=at_s, body=BODY)
    assert ours["webhook-signature"] == theirs


def test_while_secrets_change_each_of_the_two_verifies() -> None:
    secrets = [new_secret(), new_secret()]
    headers = dict(signed_headers(secrets, message_id="msg_1", timestamp_s=now_s(), body=BODY))
    for secret in secrets:
        assert Webhook(secret).verify(BODY, headers)
