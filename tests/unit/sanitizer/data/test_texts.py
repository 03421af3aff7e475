"""Captions and labels out of a stranger's bytes."""

import pytest

from sanitizer.data.skipping import BadSample
from sanitizer.data.texts import caption_of, clean, json_object


@pytest.mark.parametrize(
    ("texts", "caption"),
    [
        ({"txt": b"a dog"}, "a dog"),
        ({"txt": b"  a dog \n"}, "a dog"),
        ({"txt": b"\xef\xbb\xbfa dog"}, "a dog"),
        ({"txt": "ein Hund – 一只狗 🐕".encode()}, "ein Hund – 一只狗 🐕"),
        ({"txt": b"a\x00\x1b[31m dog\r\nin red\x7f"}, "a[31m dog  in red"),
        ({"json": b'{"caption": "a dog", "url": 1}'}, "a dog"),
        ({"json": b'{"caption": "a \\ud800dog"}'}, "a dog"),
        ({"txt": b"from txt", "json": b'{"caption": "from json"}'}, "from txt"),
    ],
)
def test_captions_are_read_and_cleaned(texts: dict[str, bytes], caption: str) -> None:
    assert caption_of(texts) == caption


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({}, "no_caption"),
        ({"cls": b"3"}, "no_caption"),
        ({"json": b"{}"}, "no_caption"),
        ({"json": b'{"caption": null}'}, "no_caption"),
        ({"txt": b""}, "empty_caption"),
        ({"txt": b" \n\x00\t"}, "empty_caption"),
        ({"json": b'{"caption": ""}'}, "empty_caption"),
        ({"txt": b"caf\xe9"}, "not_utf8"),
        ({"txt": b"\xed\xa0\x80"}, "not_utf8"),
        ({"json": b'{"caption": "caf\xe9"}'}, "not_utf8"),
        ({"json": b"not json"}, "bad_json"),
        ({"json": b"[1]"}, "bad_json"),
        ({"json": b'{"caption": 3}'}, "bad_json"),
        ({"json": b"[" * 60_000}, "bad_json"),
        ({"txt": b"a" * 65_537}, "text_too_large"),
    ],
)
def test_bad_captions_say_why(texts: dict[str, bytes], reason: str) -> None:
    with pytest.raises(BadSample) as caught:
        caption_of(texts)
    assert caught.value.reason == reason


def test_clean_keeps_every_printable_character() -> None:
    assert clean("naïve\u200dé") == "naïve\u200dé"
    assert clean("a\u2028b\tc") == "a b c"


def test_a_number_too_long_for_python_is_bad_json() -> None:
    with pytest.raises(BadSample):
        json_object(b'{"label": ' + b"9" * 5000 + b"}")
