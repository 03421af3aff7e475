"""Signals of the processes that load batches. Knows no data.

A stop that is sent to the whole group must not take them from a parent that is saving its state, so they
ignore it. Then Python, which sends the same signal to daemons when it ends and waits for them, would wait
for ever, if a loader still lives at that moment (an exception that was never caught keeps it alive).
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from functools import cache


def leave_signals_to_the_parent(_worker: int) -> None:
    """For the loading process, as its first act."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def end_them_with_the_program() -> None:
    """For the parent, once: what still loads when the program ends is killed."""
    atexit.register(_kill_them)  # runs before multiprocessing's own, which was registered earlier


def _kill_them() -> None:
    children = multiprocessing.active_children()
    if children:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's handler would call their death a failure
    for child in children:
        child.kill()
