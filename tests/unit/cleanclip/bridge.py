"""The asynchronous client behind the face of the synchronous one, so that one set of tests tries both.

Its loop runs in a thread of its own; every call waits there for its end.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Self, cast

from cleanclip.aio.client import AsyncClient
from cleanclip.retries import AsyncClock, Clock, Retries
from cleanclip.sync.client import Client


class Bridge:
    """Stands for a Client; `client_of` makes the asynchronous one in its loop."""

    def __init__(self, base_url: str, api_key: str, *, clock: Clock | None = None, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bridge")
        self._thread.start()
        try:
            if clock is not None:
                options["clock"] = as_async(clock)
            self._inner = AsyncClient(base_url, api_key, **options)
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __getattr__(self, name: str) -> Any:
        return _bridged(self, getattr(self._inner, name))

    def close(self) -> None:
        try:
            self.run(self._inner.aclose())
            self.run(self._loop.shutdown_asyncgens())
        finally:
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Noun:
    def __init__(self, bridge: Bridge, inner: object) -> None:
        self._bridge, self._inner = bridge, inner

    def __getattr__(self, name: str) -> Any:
        return _bridged(self._bridge, getattr(self._inner, name))


def _bridged(bridge: Bridge, found: Any) -> Any:
    if inspect.ismethod(found):
        return lambda *args, **kwargs: _ended(bridge, found(*args, **kwargs))
    return _Noun(bridge, found) if type(found).__module__.startswith("cleanclip.aio") else found


def _ended(bridge: Bridge, answer: Any) -> Any:
    if inspect.iscoroutine(answer):
        return bridge.run(answer)
    return _each(bridge, answer) if isinstance(answer, AsyncIterator) else answer


def _each(bridge: Bridge, items: AsyncIterator[Any]) -> Iterator[Any]:
    async def next_one() -> tuple[Any, ...]:
        try:
            return (await anext(items),)
        except StopAsyncIteration:
            return ()

    while found := bridge.run(next_one()):
        yield found[0]


def as_async(clock: Clock) -> AsyncClock:
    async def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        await asyncio.sleep(0)

    return AsyncClock(now=clock.now, sleep=sleep)


def client_of_kind(
    kind: str, base_url: str, api_key: str, *, transport: Any, retries: Retries, clock: Clock | None = None
) -> Client:
    """A client of that kind: "sync", or "async" behind the bridge."""
    options: dict[str, Any] = {"transport": transport, "retries": retries}
    if clock is not None:
        options["clock"] = clock
    made = Client if kind == "sync" else Bridge
    return cast(Client, made(base_url, api_key, **options))
