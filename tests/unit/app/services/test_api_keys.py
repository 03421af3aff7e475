"""The text of API keys: form and checksum, without a database."""

import string
from typing import Any, cast

import pytest

from app.db.models.project import ApiKey
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Forbidden, InvalidInput, Unauthorized
from app.services.api_keys import Caller, issue, read_key


class KeyShelf:
    """A unit of work that only takes keys."""

    def __init__(self) -> None:
        self.rows: list[ApiKey] = []
        self.api_keys = self

    def add(self, row: ApiKey) -> ApiKey:
        self.rows.append(row)
        return row


def issued(**options: Any) -> tuple[ApiKey, str]:
    return issue(cast(UnitOfWork, KeyShelf()), project_id="prj_1", name="test", **options)


def test_a_key_is_read_back_as_what_the_row_holds() -> None:
    row, text = issued()
    presented = read_key(text)
    assert (presented.key_id, presented.secret_sha256) == (row.id, row.secret_sha256)


def test_the_row_holds_nothing_of_the_secret() -> None:
    row, text = issued()
    secret = text[-38:]
    assert len(secret) == 38
    for value in vars(row).values():
        assert secret[:8] not in str(value)
    assert text.startswith(row.prefix)
    assert row.prefix.endswith(row.id.removeprefix("key_"))


def test_secrets_are_drawn_from_at_least_178_bits() -> None:
    texts = {issued()[1][-38:-6] for _ in range(200)}
    assert len(texts) == 200
    assert all(set(text) <= set(string.ascii_letters + string.digits) for text in texts)
    assert 62**32 > 2**178


def test_a_changed_character_anywhere_fails_the_checksum() -> None:
    _, text = issued()
    for place in range(len(text)):
        other = "a" if text[place] != "a" else "b"
        with pytest.raises(Unauthorized):
            read_key(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "cclip_live_", "Bearer x", "ключ", "a" * 99_999, "0123456789abcdef" * 4]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        read_key(text)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(InvalidInput):
        issued(scopes=["read", "fly"])


def caller(*scopes: str) -> Caller:
    return Caller(
        project_id="prj_1", key_id="key_1", scopes=frozenset(scopes), request_id="req_1", remote_addr=None
    )


def test_admin_may_do_everything_and_others_what_their_scopes_say() -> None:
    caller("admin").require("run")
    caller("run").require("run")
    with pytest.raises(Forbidden):
        caller("read", "upload").require("run")
