"""A SigLIP's tokenizer: a `tokenizer.json` on the operator's shelf, checked before a library reads it.

The shelf is a folder whose files are named by their SHA-256; nothing is fetched, nothing unpickled. The
library (`tokenizers`) gets what we write again of the parts that are allowed: no pattern that can take more
than one pass over a text, nothing that makes a text much longer, no chance, and no id that the model has no
row for.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import TOKENIZERS_VARIABLE
from sanitizer.checkpoints.architecture import Architecture
from sanitizer.checkpoints.rejection import excerpt, refusal

MAX_BYTES = 64 * 2**20
"""Gemma's, which SigLIP 2 has, is 34 MB."""
_MAX_PARTS = 24
"""Of normalizer, pre-tokenizer and post-processor together."""
_MAX_ADDED = 4096
_MAX_RUN_BYTES = 64
"""What one character may become in a table of SentencePiece's; 33 bytes in the one that all models have."""
_ALLOWED = {
    "normalizer": {
        "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend",
        "Precompiled",
    },
    "pre_tokenizer": {
        "Sequence", "Metaspace", "WhitespaceSplit", "Whitespace", "Split", "ByteLevel", "Digits",
    },
    "post_processor": {"Sequence", "TemplateProcessing", "ByteLevel"},
}  # fmt: skip
_MODELS = {"Unigram", "BPE"}
_ONE_ATOM = re.compile(
    r"(?:\\[sdwp]|\\p\{[A-Za-z]{1,20}\}|\[(?:[^\[\]\\]|\\.){1,200}\]|[^\\\[\](){}.*+?^$|])(?:\+|\{\d{1,2},?\})?"
)
"""A pattern that cannot go back: one character, or one class of them, repeated at most."""

Encode = Callable[[str], list[int]]


@cache
def load_tokenizer(sha256: str, *, num_rows: int, context_length: int) -> Encode:
    """Text → `context_length` ids below `num_rows`: cut or padded, the end kept.

    Raises CheckpointRejected: 'tokenizer_not_on_shelf', 'tokenizer_invalid', 'tokenizer_ids_out_of_range'.
    """
    content = _read_json(_bytes_of(sha256))
    _check_parts(content)
    _check_ids(content, num_rows)
    return _encoder(content, num_rows, context_length)


def own_tokenizer(architecture: Architecture) -> Encode:
    """A SigLIP's. Raises CheckpointRejected as `load_tokenizer` does."""
    return load_tokenizer(
        architecture.tokenizer,
        num_rows=architecture.text.vocab_size,
        context_length=architecture.context_length,
    )


def _bytes_of(sha256: str) -> bytes:
    folder = os.environ.get(TOKENIZERS_VARIABLE)
    path = Path(folder or "/nonexistent") / f"{sha256}.json"
    if not path.is_file():
        raise refusal(
            "tokenizer_not_on_shelf",
            f"The tokenizer with the SHA-256 {sha256} is not on the shelf.",
            "Ask the operator to put the model's tokenizer.json on the shelf, under its SHA-256 and .json.",
            where="tokenizer",
        )
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _invalid(f"it has more than {MAX_BYTES} bytes")
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise _invalid("its SHA-256 is not that of its name")
    return raw


def _invalid(what: str) -> CheckpointRejected:
    return refusal(
        "tokenizer_invalid",
        f"The tokenizer cannot be used: {what}.",
        "Give the tokenizer.json that was published with the model.",
        where="tokenizer",
    )


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        content: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise _invalid("it is not valid JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise _invalid("it has no model")
    return content


def _check_parts(content: dict[str, Any]) -> None:
    """Only parts whose work grows with the text, and none that makes it much longer."""
    model = content["model"]
    if model.get("type") not in _MODELS:
        raise _invalid(f"its model is of type {excerpt(model.get('type'), 20)}, not one of {sorted(_MODELS)}")
    if model.get("dropout"):
        raise _invalid("it drops merges by chance")
    num_parts = num_growing = 0
    for section, allowed in _ALLOWED.items():
        for part in _parts(content.get(section)):
            num_parts += 1
            if num_parts > _MAX_PARTS:
                raise _invalid(f"it has more than {_MAX_PARTS} parts")
            if part.get("type") not in allowed:
                raise _invalid(f"its {section} has a part of type {excerpt(part.get('type'), 20)}")
            num_growing += _grows(part)
    if num_growing > 1:
        raise _invalid("several of its parts make a text longer")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [] if value is None else [value]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            raise _invalid("a part of it is not a JSON object")
        yield part
        for name in ("normalizers", "pretokenizers", "processors"):
            inner = part.get(name, [])
            waiting += inner if isinstance(inner, list) else [None]


def _grows(part: dict[str, Any]) -> bool:
    """Whether it makes a text longer. Raises CheckpointRejected where it could without bound, or work so."""
    if part["type"] == "Precompiled":
        return _check_table(part)
    content = part.get("content", part.get("prepend", ""))
    if not isinstance(content, str) or len(content) > 4:
        raise _invalid("a part of it puts in more than four characters")
    pattern = part.get("pattern")
    if pattern is None:
        return False
    texts = list(pattern.values()) if isinstance(pattern, dict) else []
    if len(texts) != 1 or not isinstance(texts[0], str) or not 0 < len(texts[0]) <= 500:
        raise _invalid("a part of it has no pattern")
    if "Regex" in pattern and not _ONE_ATOM.fullmatch(texts[0]):
        raise _invalid(f"the pattern '{excerpt(texts[0], 40)}' is more than one repeated class of characters")
    return len(content) > (1 if "Regex" in pattern else len(texts[0]))


def _check_table(part: dict[str, Any]) -> bool:
    """SentencePiece's table: a trie behind its size, then texts with a zero byte behind each."""
    try:
        raw = base64.b64decode(part["precompiled_charsmap"] or "", validate=True)
    except (KeyError, TypeError, ValueError):
        raise _invalid("its table of characters is not base64") from None
    texts = raw[4 + int.from_bytes(raw[:4], "little") :]
    if max(map(len, texts.split(b"\0"))) > _MAX_RUN_BYTES:
        raise _invalid("its table of characters makes a long text of one character")
    return False


def _check_ids(content: dict[str, Any], num_rows: int) -> None:
    """Every id that it can give must have a row."""
    for found in _ids(content):
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < num_rows:
            raise refusal(
                "tokenizer_ids_out_of_range",
                f"The tokenizer has the id {excerpt(found, 24)}; the model has {num_rows} tokens.",
                "Declare the tokenizer that was published with this model.",
                where="tokenizer",
            )


def _ids(content: dict[str, Any]) -> Iterator[Any]:
    vocabulary, added = content["model"].get("vocab"), content.get("added_tokens") or []
    if not isinstance(vocabulary, dict | list) or not vocabulary or not isinstance(added, list):
        raise _invalid("it has no vocabulary")
    if len(added) > _MAX_ADDED:
        raise _invalid(f"it has more than {_MAX_ADDED} added tokens")
    if isinstance(vocabulary, dict):
        yield from vocabulary.values()
    else:
        yield len(vocabulary) - 1
    for token in added:
        yield token.get("id") if isinstance(token, dict) else None
    if isinstance(content.get("padding"), dict):
        yield content["padding"].get("pad_id")
    for part in _parts(content.get("post_processor")):
        special = part.get("special_tokens", {})
        for token in special.values() if isinstance(special, dict) else ():
            yield from token.get("ids", ()) if isinstance(token, dict) else (None,)


def _encoder(content: dict[str, Any], num_rows: int, context_length: int) -> Encode:
    # A library of Rust, which an inspection of any other model does not need; its panics are no Exception.
    from tokenizers import Tokenizer  # noqa: PLC0415

    padding = content.get("padding")
    written = json.dumps(content | {"padding": None, "truncation": None, "decoder": None})
    try:
        tokenizer = Tokenizer.from_str(written)
        pad_id = _pad_id(tokenizer, padding)
        tokenizer.enable_truncation(context_length)
        tokenizer.enable_padding(length=context_length, pad_id=pad_id, direction=_side(padding))
        for probe in ("", "a photo of a cat", "a " * 2 * context_length):
            _check_encoded(tokenizer.encode(probe).ids, num_rows, context_length)
    except (CheckpointRejected, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - of a panic
        raise _invalid(f"tokenizers stops with {type(error).__name__}") from None

    def encode(text: str) -> list[int]:
        ids: Sequence[int] = tokenizer.encode(text).ids
        return _check_encoded(list(ids), num_rows, context_length)

    return encode


def _pad_id(tokenizer: Any, padding: Any) -> int:
    """That of the file; else the end token if it is T5's, as SigLIP was trained; else the padding token."""
    if isinstance(padding, dict):
        return int(padding["pad_id"])
    end, t5s = tokenizer.encode("").ids[-1:], tokenizer.token_to_id("</s>")
    found = t5s if end == [t5s] else tokenizer.token_to_id("<pad>")
    if found is None:
        raise _invalid("it has no token to pad with: no section 'padding', no </s> at the end, no <pad>")
    return int(found)


def _side(padding: Any) -> str:
    is_left = isinstance(padding, dict) and padding.get("direction") == "Left"
    return "left" if is_left else "right"


def _check_encoded(ids: list[int], num_rows: int, context_length: int) -> list[int]:
    if len(ids) != context_length or max(ids) >= num_rows:
        raise _invalid("it gives other ids than the model has")
    return ids
