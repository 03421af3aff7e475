"""The processes of one training: started together, heard together, ended together.

Whoever calls is not a rank: it waits in no collective, so it sees at once when a rank is gone, whatever the
others wait for, and ends them. A rank ends by itself when its orders end, so none outlives the caller; of one
that is killed the processes that load go within five seconds, as PyTorch has it.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from cleanclip.vocabulary.errors import RankLost
from cleanclip.vocabulary.progress import Progress, Stop
from sanitizer.ranks.protocol import LINE, ORDER, STOP, RankEnded, RankOrder, as_error
from sanitizer.training.device import num_granted_cores
from sanitizer.training.loop import Finetuned

COMMAND = (sys.executable, "-m", "sanitizer.rank")
_LOOK_EVERY_S = 0.1
_LAST_WORDS_S = 1.0
"""How long the last line of a rank that has ended may be on its way."""
END_PATIENCE_S = 5.0
_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


def run_ranks(orders: Sequence[RankOrder], progress: Progress, stop: Stop) -> Finetuned:
    """What rank 0 made of it. Raises its or another one's SanitizerError, RankLost; none is left then."""
    lines: queue.Queue[tuple[int, bytes]] = queue.Queue()
    ranks: list[_Rank] = []
    try:
        for order in orders:
            ranks.append(_Rank(order, lines))  # noqa: PERF401 - where one does not start, the others are ended
        return _Watch(ranks, lines, progress, stop).until_all_ended()
    finally:
        for rank in ranks:
            rank.end_orders()
        deadline = time.monotonic() + END_PATIENCE_S
        for rank in ranks:
            rank.close(deadline)


class _Rank:
    """One process, and a thread that takes in what it says."""

    def __init__(self, order: RankOrder, lines: queue.Queue[tuple[int, bytes]]) -> None:
        self.number = order.rank
        with _signals_held_back():
            self._process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(order.num_ranks)
            )
        self._thread = threading.Thread(target=self._listen, args=(lines,), daemon=True)
        self._thread.start()
        self._tell(ORDER.dump_json(order) + b"\n")

    def _listen(self, lines: queue.Queue[tuple[int, bytes]]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in _opened(self._process.stdout):
                lines.put((self.number, line))

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask for a state and the end."""
        self._tell(STOP)

    def _tell(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # it has gone, and `poll` says how
            _opened(self._process.stdin).write(line)
            _opened(self._process.stdin).flush()

    def end_orders(self) -> None:
        """It ends at once, whatever it does, with the processes that load for it; if it can."""
        with contextlib.suppress(OSError):
            _opened(self._process.stdin).close()

    def close(self, deadline: float) -> None:
        """Wait for the end, or bring it about."""
        try:
            self._process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(timeout=max(0.1, deadline - time.monotonic()))
        if not self._thread.is_alive():  # a process that loaded for it may hold the other end a little longer
            _opened(self._process.stdout).close()


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """What is started meanwhile never sees them: a stop sent to the whole group reaches ranks by us alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("a pipe was asked for")
    return stream


def _environment(num_ranks: int) -> Mapping[str, str]:
    """Cores are shared out; nothing leaves this machine."""
    num_threads = str(max(1, num_granted_cores() // num_ranks))
    return os.environ | {
        "OMP_NUM_THREADS": num_threads,
        "MKL_NUM_THREADS": num_threads,
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_FAMILY": "AF_INET",
        "NCCL_IB_DISABLE": "1",
    }


class _Watch:
    """Hears all ranks until each has ended; the first that fails ends it."""

    def __init__(
        self, ranks: Sequence[_Rank], lines: queue.Queue[tuple[int, bytes]], progress: Progress, stop: Stop
    ) -> None:
        self._ranks, self._lines = ranks, lines
        self._progress, self._stop = progress, stop
        self._is_told_to_stop = False
        self._ended: dict[int, RankEnded] = {}

    def until_all_ended(self) -> Finetuned:
        """What rank 0 made of it. Raises its or another one's SanitizerError, RankLost."""
        silent_since = time.monotonic()
        while len(self._ended) < len(self._ranks):
            self._pass_stop_on()
            try:
                self._take(*self._lines.get(timeout=_LOOK_EVERY_S))
                silent_since = time.monotonic()
            except queue.Empty:
                if time.monotonic() - silent_since > _LAST_WORDS_S:
                    self._look_for_lost()
        finetuned = self._ended[0].finetuned
        if finetuned is None:
            raise RuntimeError("rank 0 ended without a result")
        return finetuned

    def _pass_stop_on(self) -> None:
        if not self._is_told_to_stop and self._stop():
            self._is_told_to_stop = True
            for rank in self._ranks:
                rank.stop()

    def _take(self, rank: int, line: bytes) -> None:
        reported = LINE.validate_json(line)
        if not isinstance(reported, RankEnded):
            self._progress(reported)
        elif reported.failure is not None:
            raise as_error(reported.failure)
        else:
            self._ended[rank] = reported

    def _look_for_lost(self) -> None:
        """Where one is killed the others may crash for it: the one that a signal ended is reported."""
        lost = {
            rank.number: status
            for rank in self._ranks
            if (status := rank.poll()) is not None and rank.number not in self._ended
        }
        if lost:
            first = min(lost, key=lambda rank: (lost[rank] >= 0, rank))
            raise RankLost(first, len(self._ranks), lost[first])
