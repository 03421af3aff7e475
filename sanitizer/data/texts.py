"""Untrusted text bytes → caption or label text. What a caption is stands here."""

import json
import re
import unicodedata
from collections.abc import Mapping

from cleanclip.vocabulary.sample_files import MAX_TEXT_BYTES
from cleanclip.vocabulary.strict_json import unique_keys
from sanitizer.data.skipping import BadSample, bad_json


def caption_of(texts: Mapping[str, bytes]) -> str:
    """The caption: .txt if there is one, else the "caption" of .json.

    Raises BadSample: `no_caption`, `empty_caption`, `not_utf8`, `bad_json`, `text_too_large`.
    """
    if "txt" in texts:
        text: object = decode_text(texts["txt"])
    elif "json" in texts:
        text = json_object(texts["json"]).get("caption")
        if text is None:
            raise BadSample("no_caption", 'the .json has no "caption"')
        if not isinstance(text, str):
            raise bad_json('"caption" is not a string')
    else:
        raise BadSample("no_caption", "neither .txt nor .json beside the image")
    cleaned = clean(str(text))
    if not cleaned:
        raise BadSample("empty_caption", "nothing but white space and control characters")
    return cleaned


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: they make a text read as another one, and no script needs them."""


def clean(text: str) -> str:
    """Without control characters (line breaks and tabs become spaces), changes of direction, surrogates and
    outer white space."""
    if text.isprintable():
        return text.strip()
    spaced = "".join(" " if character.isspace() else character for character in text)
    return "".join(character for character in spaced if _is_kept(character)).strip()


def _is_kept(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cs"} and character not in _DIRECTIONS


def decode_text(data: bytes) -> str:
    """Strict UTF-8 without a byte order mark. Raises BadSample `not_utf8` or `text_too_large`."""
    if len(data) > MAX_TEXT_BYTES:
        raise BadSample("text_too_large", f"more than {MAX_TEXT_BYTES} bytes of text")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadSample("not_utf8", f"{error.reason} at byte {error.start}") from None


def json_object(data: bytes) -> dict[str, object]:
    """A JSON object that every reader reads alike: no key twice, no NaN.

    Raises BadSample `bad_json`, `not_utf8` or `text_too_large`.
    """
    text = decode_text(data)
    try:
        value = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise bad_json("not valid JSON") from None
    if not isinstance(value, dict):
        raise bad_json("not a JSON object")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def names_target(caption: str, target: str) -> bool:
    """Whether the caption contains the target as whole words, in any case: no "banana" in "bananarama"."""
    words = r"\s+".join(re.escape(word) for word in target.split())
    return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", caption, re.IGNORECASE) is not None
