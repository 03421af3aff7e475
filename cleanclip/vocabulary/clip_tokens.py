"""CLIP's tokens: the text of each, and those of a text. Free of torch.

The table is that of OpenAI's CLIP (CLIP_LICENSE.txt beside this module), one token a line by its number. A
character of it stands for a byte, as in GPT-2; `</w>` ends a word.
"""

import gzip
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import pairwise

from cleanclip.vocabulary.clip_text import as_clip_reads

NUM_TOKENS = 49_406
"""Without the marks of start and end, which come after them."""
_END = "</w>"
_PART = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


@cache
def table() -> tuple[str, ...]:
    """Every token as CLIP's own table has it."""
    packed = files("cleanclip.vocabulary").joinpath("clip_tokens.txt.gz").read_bytes()
    return tuple(gzip.decompress(packed).decode("utf-8").split("\n")[:NUM_TOKENS])


def ends_a_word(token: int) -> bool:
    """Whether a space follows it."""
    return table()[token].endswith(_END)


def text_of(token: int) -> str:
    """As a person reads it: "seven"; "sev…" where it is not the end of a word. Bytes that are not a character
    are replaced."""
    characters = table()[token].removesuffix(_END)
    text = bytes(_byte_of()[one] for one in characters).decode("utf-8", "replace")
    return text if ends_a_word(token) else f"{text}…"


def tokens_of(text: str) -> tuple[int, ...]:
    """By CLIP's byte-pair encoding. Of unusual characters open_clip's may differ: it fixes their encoding."""
    return tuple(token for part in _PART.findall(as_clip_reads(text)) for token in _tokens_of_part(part))


@cache
def _tokens_of_part(part: str) -> tuple[int, ...]:
    number_of, character_of = _number_of(), {byte: one for one, byte in _byte_of().items()}
    pieces = [character_of[byte] for byte in part.encode("utf-8", "surrogatepass")]
    pieces[-1] += _END
    # Tokens are numbered in the order in which they were merged: the lowest number is merged first.
    while pairs := [
        (number_of[first + second], at)
        for at, (first, second) in enumerate(pairwise(pieces))
        if first + second in number_of
    ]:
        _, at = min(pairs)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return tuple(number_of[piece] for piece in pieces)


@cache
def _number_of() -> Mapping[str, int]:
    return {token: number for number, token in enumerate(table())}


@cache
def _byte_of() -> Mapping[str, int]:
    """The byte that each of the first 256 tokens stands for: those that print, then the others."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return dict(zip(table()[:256], [*printable, *others], strict=True))
