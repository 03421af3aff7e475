"""`Readiness`: whether the parts that requests need do what requests need of them.

Each part is asked by a thread of its own, one at a time, and its answer counts for a moment: probes are
cheap, wait for no request, and are not held up by a part that hangs. Belongs to the event loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from app.logs import get_logger

CHECK_TIMEOUT_S = 2.0
CHECK_EVERY_S = 2.0

log = get_logger(__name__)


class Readiness:
    """`checks`: by part, what raises where the part fails; each may block."""

    def __init__(
        self,
        checks: Mapping[str, Callable[[], object]],
        *,
        timeout_s: float = CHECK_TIMEOUT_S,
        every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._parts = {name: _Part(name, check) for name, check in checks.items()}
        self._timeout_s = timeout_s
        self.every_s = every_s

    async def failing(self) -> set[str]:
        """The parts whose newest check failed, or takes longer than the timeout already."""
        checks = {name: part.newest(self.every_s) for name, part in self._parts.items()}
        await asyncio.wait(checks.values(), timeout=self._timeout_s)
        failing = {name for name, check in checks.items() if not (check.done() and check.result())}
        if late := [name for name in failing if not checks[name].done()]:
            log.warning("not_ready", parts=late, cause="no answer in time")
        return failing


class _Part:
    def __init__(self, name: str, check: Callable[[], object]) -> None:
        self._name = name
        self._check = check
        self._newest: asyncio.Future[bool] | None = None
        self._started_s = 0.0

    def newest(self, every_s: float) -> asyncio.Future[bool]:
        """The check under way, or one that began lately; else a new one."""
        now_s = time.monotonic()
        known = self._newest
        if known is None or (known.done() and now_s - self._started_s >= every_s):
            loop = asyncio.get_running_loop()
            known = self._newest = loop.create_future()
            self._started_s = now_s
            threading.Thread(
                target=self._run, args=(loop, known), name=f"readyz {self._name}", daemon=True
            ).start()
        return known

    def _run(self, loop: asyncio.AbstractEventLoop, check: asyncio.Future[bool]) -> None:
        try:
            self._check()
            is_ok = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is not ready
            log.warning("not_ready", part=self._name, cause=repr(error))
            is_ok = False
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(check.set_result, is_ok)
