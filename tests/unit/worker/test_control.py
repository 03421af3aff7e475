"""Reasons to stop: the strongest wins, a cancel stays, a pause may be withdrawn."""

import threading
import time

import pytest

from worker.control import Control, Stopped, StopReason


def test_the_strongest_reason_wins() -> None:
    leaving = threading.Event()
    control = Control(leaving)
    assert control.reason is None
    control.check()
    control.pause(wanted=True)
    assert control.reason is StopReason.PAUSE
    leaving.set()
    assert control.reason is StopReason.LEAVE
    control.cancel()
    assert control.reason is StopReason.CANCEL
    control.fence()
    assert control.reason is StopReason.FENCED
    with pytest.raises(Stopped) as stopped:
        control.check()
    assert stopped.value.reason is StopReason.FENCED


def test_a_pause_can_be_withdrawn() -> None:
    control = Control(threading.Event())
    control.pause(wanted=True)
    control.pause(wanted=False)
    assert control.reason is None


def test_a_wait_ends_as_soon_as_there_is_a_reason() -> None:
    control = Control(threading.Event())
    threading.Timer(0.1, control.cancel).start()
    started = time.monotonic()
    with pytest.raises(Stopped):
        control.wait(30)
    assert time.monotonic() - started < 5
