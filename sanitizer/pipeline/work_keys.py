"""What is kept is used again by the same software for the same work alone: a key of both."""

import hashlib
import json
from collections.abc import Mapping

import torch

from sanitizer.software import software


def key_of(decides: Mapping[str, object]) -> str:
    """Over all that decides what is kept, JSON by JSON, and over the software."""
    parts = {"software": software() | {"torch": torch.__version__}, **decides}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
