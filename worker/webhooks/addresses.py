"""What addresses a name has, asked once, with a bound on the wait. Judges none of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

Resolve = Callable[[str, int, float], Sequence[str]]
"""(host, port, timeout_s) → addresses, in the order in which to try them; empty where there are none or it
took too long."""


def resolve(host: str, port: int, timeout_s: float) -> Sequence[str]:
    """As this machine resolves names. The system's call knows no timeout: it is left behind in its thread."""
    found: SimpleQueue[Sequence[str]] = SimpleQueue()
    threading.Thread(target=lambda: found.put(_ask(host, port)), name="resolve", daemon=True).start()
    try:
        return found.get(timeout=max(timeout_s, 0.0))
    except Empty:
        return ()


def _ask(host: str, port: int) -> Sequence[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in answers))
