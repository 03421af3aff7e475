"""A text as CLIP's tokenizer sees it before it cuts it up."""

from collections.abc import Iterable
from html import unescape


def as_clip_reads(text: str) -> str:
    """Small letters, single spaces, no entities."""
    return " ".join(unescape(unescape(text)).lower().split())


def num_different(texts: Iterable[str]) -> int:
    """How many of them CLIP tells apart."""
    return len(set(map(as_clip_reads, texts)))
