"""What a receiver believes, held against the standard's own library; and what it does not."""

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from cleanclip.webhook_verification import WebhookRejected, verify

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = json.dumps(
    {"type": "job.failed", "timestamp": "2026-01-02T03:04:05.000678Z", "data": {"id": "job_1", "é": "ü"}},
    ensure_ascii=False,
).encode()


def signed(secret: str = SECRET, body: bytes = BODY, *, at_s: float | None = None) -> dict[str, str]:
    """Headers by the standard's own library."""
    at = datetime.fromtimestamp(int(time.time() if at_s is None else at_s), UTC)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


def test_what_the_standards_own_library_signs_is_believed() -> None:
    message = verify(signed(), BODY, SECRET)
    assert (message.id, message.type) == ("msg_1", "job.failed")
    assert message.data["id"] == "job_1"
    assert message.timestamp == datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def test_names_of_headers_are_of_any_case_and_the_secret_may_lack_its_prefix() -> None:
    headers = {name.upper(): value for name, value in signed().items()}
    assert verify(headers, BODY, SECRET.removeprefix("whsec_") + "\n").type == "job.failed"


def test_any_of_several_signatures_is_enough_and_others_are_passed_over() -> None:
    ours, theirs = signed()["Webhook-Signature"], signed(OTHER)["Webhook-Signature"]
    for text in (f"{theirs} {ours}", f"v1a,AAAA v1,! {ours} v2,x"):
        assert verify(signed() | {"Webhook-Signature": text}, BODY, SECRET)


@pytest.mark.parametrize(
    "changed",
    [
        {"Webhook-Id": "msg_2"},
        {"Webhook-Id": ""},
        {"Webhook-Timestamp": ""},
        {"Webhook-Timestamp": "now"},
        {"Webhook-Timestamp": "-1"},
        {"Webhook-Timestamp": "1e9"},
        {"Webhook-Timestamp": str(int(time.time()) + 1)},
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1"},
        {"Webhook-Signature": "v1,"},
        {"Webhook-Signature": "v1,AAAA"},
        {"Webhook-Signature": signed(OTHER)["Webhook-Signature"]},
        {"Webhook-Signature": signed()["Webhook-Signature"].replace("v1,", "v2,")},
    ],
)
def test_headers_that_were_changed_are_not_believed(changed: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        verify(signed() | changed, BODY, SECRET)


def test_a_body_that_was_changed_is_not_believed() -> None:
    for body in (BODY + b" ", BODY.replace(b"failed", b"passed"), b"", b"\xff"):
        with pytest.raises(WebhookRejected):
            verify(signed(), body, SECRET)


@pytest.mark.parametrize(("away_s", "why"), [(-302, "too old"), (302, "too new")])
def test_a_message_of_another_time_is_not_believed(away_s: int, why: str) -> None:
    with pytest.raises(WebhookRejected, match=why):
        verify(signed(at_s=time.time() + away_s), BODY, SECRET)
    assert verify(signed(at_s=time.time() + away_s / 1.02), BODY, SECRET)


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b"{}", b"no json", b'{"type": "x", "timestamp": 7}'])
def test_a_signed_body_that_is_no_message_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(WebhookRejected, match="not a message"):
        verify(signed(body=body), body, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_!!!"])
def test_a_secret_that_is_none_is_the_receivers_own_mistake(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify(signed(), BODY, secret)
