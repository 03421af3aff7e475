"""Telling long answers that the process will end, before the server begins to wait for them.

A server that has to stop closes its ports, waits for the answers under way, and only then tells the
application (lifespan). A stream that does not know would keep it waiting until it is cut off.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stopping(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block, `tell` is called at SIGTERM and SIGINT, before whoever handles them already.

    Handlers belong to the main thread; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        tell()
        earlier = before[signal.Signals(number)]
        if callable(earlier):
            earlier(number, frame)

    ours = {number: signal.signal(number, handle) for number in _SIGNALS if callable(before[number])}
    try:
        yield
    finally:
        for number, earlier in ours.items():
            signal.signal(number, earlier)
