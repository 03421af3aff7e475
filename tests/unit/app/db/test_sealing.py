"""Sealed texts: what opens them, and what does not."""

import pytest
from cryptography.fernet import Fernet

from app.db.sealing import Sealer, Unsealable


def key() -> str:
    return Fernet.generate_key().decode()


def test_what_was_sealed_is_unsealed_and_shows_nothing_meanwhile() -> None:
    sealer = Sealer([key()])
    sealed = sealer.seal("whsec_secret")
    assert sealer.unseal(sealed) == "whsec_secret"
    assert "secret" not in sealed
    assert sealer.seal("whsec_secret") != sealed, "two that are the same are not told"


def test_keys_change_without_a_moment_in_which_something_cannot_be_read() -> None:
    old, new = key(), key()
    sealed = Sealer([old]).seal("text")
    both = Sealer([new, old])
    assert both.unseal(sealed) == "text"
    again = both.seal_again(sealed)
    assert Sealer([new]).unseal(again) == "text"
    for sealer in (Sealer([new]), Sealer([key()])):
        with pytest.raises(Unsealable):
            sealer.unseal(sealed)
        with pytest.raises(Unsealable):
            sealer.seal_again(sealed)


@pytest.mark.parametrize("broken", ["", "gAAAA", "text"])
def test_what_was_never_sealed_is_not_unsealed(broken: str) -> None:
    with pytest.raises(Unsealable):
        Sealer([key()]).unseal(broken)


@pytest.mark.parametrize("none", ["", "short", "é" * 44])
def test_a_key_that_is_none_is_refused(none: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Sealer([none])
