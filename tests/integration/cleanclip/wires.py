"""A real network with faults: every request is written down, and a rule may answer it or break it instead."""

import threading
from collections.abc import Callable

import httpx

Rule = Callable[[httpx.Request], httpx.Response | None]


class Wires(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Hands requests to the real transport unless `rule` answers them or raises. For either client."""

    def __init__(self) -> None:
        self._real = httpx.HTTPTransport()
        self._real_async = httpx.AsyncHTTPTransport()
        self._lock = threading.Lock()
        self.rule: Rule = lambda request: None
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.seen.append(request)
        answer = self.rule(request)
        return self._real.handle_request(request) if answer is None else answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.seen.append(request)
        answer = self.rule(request)
        return await self._real_async.handle_async_request(request) if answer is None else answer

    def close(self) -> None:
        self._real.close()

    async def aclose(self) -> None:
        await self._real_async.aclose()

    def parts_sent(self) -> list[int]:
        """Numbers of the parts whose PUT was tried at the store, sorted."""
        with self._lock:
            return sorted(
                int(request.url.params["partNumber"])
                for request in self.seen
                if request.method == "PUT" and "partNumber" in request.url.params
            )

    def ranges(self) -> list[str]:
        """The Range headers that were sent, sorted."""
        with self._lock:
            return sorted(request.headers["range"] for request in self.seen if "range" in request.headers)


def part_number(request: httpx.Request) -> int | None:
    """Which part this request stores; None where it is none."""
    if request.method != "PUT" or "partNumber" not in request.url.params:
        return None
    return int(request.url.params["partNumber"])
