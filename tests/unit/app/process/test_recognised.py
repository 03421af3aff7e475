"""Keys recognised a moment ago: for so long and no longer, and never for another request's address."""

from app.live.recognised import MAX_KEPT, RecognisedKeys
from app.services.api_keys import Caller

CALLER = Caller(
    project_id="prj_a", key_id="key_a", scopes=frozenset({"read"}), request_id="first", remote_addr="10.0.0.1"
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(keys: RecognisedKeys, digest: str = "d") -> Caller | None:
    return keys.get(digest, request_id="second", remote_addr="10.0.0.2")


def test_a_kept_caller_makes_the_new_request_in_its_own_name() -> None:
    keys = RecognisedKeys(2.0, now_s=Clock())
    keys.keep("d", CALLER, asked_at_s=100.0)
    found = asked(keys)
    assert found is not None
    assert (found.request_id, found.remote_addr) == ("second", "10.0.0.2")
    assert (found.project_id, found.key_id, found.scopes) == ("prj_a", "key_a", frozenset({"read"}))
    assert asked(keys, "another") is None


def test_a_key_is_believed_no_longer_than_since_the_database_was_asked() -> None:
    clock = Clock()
    keys = RecognisedKeys(2.0, now_s=clock)
    clock.now = 101.5  # the answer took its time
    keys.keep("d", CALLER, asked_at_s=100.0)
    assert asked(keys) is not None
    clock.now = 102.0
    assert asked(keys) is None


def test_a_key_that_is_forgotten_is_asked_for_at_once() -> None:
    keys = RecognisedKeys(2.0, now_s=Clock())
    keys.keep("d", CALLER, asked_at_s=100.0)
    keys.forget("key_b")
    assert asked(keys) is not None
    keys.forget("key_a")
    assert asked(keys) is None


def test_nothing_is_kept_where_that_is_configured_and_never_without_bound() -> None:
    off = RecognisedKeys(0.0, now_s=Clock())
    off.keep("d", CALLER, asked_at_s=100.0)
    assert asked(off) is None
    keys = RecognisedKeys(2.0, now_s=Clock())
    for number in range(MAX_KEPT + 1):
        keys.keep(str(number), CALLER, asked_at_s=100.0)
    assert asked(keys, "0") is None
    assert asked(keys, str(MAX_KEPT)) is not None
