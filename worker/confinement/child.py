"""One child process: started cut off and limited, listened to, measured, stopped as a group.

It is the process that touches hostile bytes and may crash; nothing it does may hurt the supervisor. Knows
no job: whoever uses it decides when to stop and what its end means.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cleanclip.vocabulary.progress import ProgressEvent
from worker.confinement import session
from worker.confinement.child_output import CappedLog, EventReader, Excess, pump
from worker.confinement.session import Usage

_REAP_TIMEOUT_S = 10.0


class Child:
    """A running child and everything it started. `close` it, whatever happens."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log_path: Path,
        on_event: Callable[[ProgressEvent], None],
        save_every_s: float = 60.0,
    ) -> None:
        """`save_every_s`: how often it was told to save a state, and so how many it may tell of."""
        self._events = EventReader(on_event, save_every_s=save_every_s)
        self._log = CappedLog(log_path)
        self._told_by_guard, guards_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=guards_end,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                close_fds=True,
            )
        except BaseException:
            os.close(self._told_by_guard)
            raise
        finally:
            os.close(guards_end)
        self.was_set_up = False
        """Known once it is closed: whether the guard became the program, by the guard's own word."""
        self._is_closed = False
        self._pumps: list[threading.Thread] = []
        try:
            for stream, fed in ((self._process.stdout, self._events), (self._process.stderr, self._log)):
                if stream is None:
                    raise RuntimeError("a pipe was asked for")
                self._pumps.append(pump(stream, fed))
        except BaseException:  # no thread to be had: nobody could `close` what is not returned
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the guard, which leads the session of everything that the child starts."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    @property
    def excess(self) -> Excess | None:
        """Why nobody listens to it any more: it says more, or more nonsense, than any job does."""
        return self._events.excess or self._log.excess

    def log_tail(self) -> str:
        return self._log.tail()

    def terminate(self) -> None:
        """Ask the child to save its state and end; only the child itself, which knows what to do."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the child and everything it started, now. After `close` its number may be somebody else's."""
        if self._is_closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def usage(self, memory_limit_bytes: int | None = None) -> Usage:
        """What all processes of the child's session use together; none can leave it: see the filter."""
        return session.usage(self._process.pid, memory_limit_bytes)

    def close(self) -> int:
        """Kill what is left, reap it, take in its last words. Returns the exit status.

        Raises TimeoutError where something of it still lives, and so may still change its files.
        """
        self.kill()
        status = self._process.wait(timeout=_REAP_TIMEOUT_S)
        is_alone = self._is_closed or self._is_left_alone()
        if not self._is_closed:
            self._hear_guard()
        self._is_closed = True
        for thread in self._pumps:
            thread.join(timeout=2.0)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()
        self._log.close()
        if not is_alone:
            raise TimeoutError("a process of the job does not end")
        return status

    def _hear_guard(self) -> None:
        os.set_blocking(self._told_by_guard, False)
        with contextlib.suppress(BlockingIOError):
            self.was_set_up = os.read(self._told_by_guard, 2) == b"+"
        os.close(self._told_by_guard)

    def _is_left_alone(self) -> bool:
        """The others were killed too; until the kernel is done with them they may still change a file."""
        deadline = time.monotonic() + _REAP_TIMEOUT_S
        while not session.is_left_alone(self._process.pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True
