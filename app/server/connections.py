"""Who is connected to one process: counted, at most so many, and looked at again and again.

A connection waits (for the head of a request) or is served. When all places are taken, the one that has
waited longest gives way: whoever sends requests finds a place, however many others hold connections open.
Used by one event loop.

uvicorn's `limit_concurrency` answers 503 to whoever sends while so many connections are open, idle ones
included, and does not count by address; limits of a proxy protect only installations that have one.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol

from app.live.metrics import Metrics
from app.logs import get_logger
from app.server.refusals import ADDRESS_FULL, SERVER_FULL, Refusal
from app.settings_groups import ConnectionSettings

_LOOK_EVERY_S = 1.0
_OF_ONE_OWNER = 64
"""Bits of an IPv6 address; who has one address has all that begin so."""

log = get_logger(__name__)


class Connection(Protocol):
    """What is asked of a connection."""

    def give_way(self) -> None:
        """End: another needs the place."""

    def look(self, now_s: float) -> None:
        """End, if a deadline has passed. `now_s` is the event loop's time."""


class OpenConnections:
    """The connections of one process. `trusted_proxies` stand for many and are not counted by address."""

    def __init__(
        self, settings: ConnectionSettings, trusted_proxies: Sequence[str], metrics: Metrics
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._trusted = [ip_network(text, strict=False) for text in trusted_proxies]
        self._owners: dict[Connection, str | None] = {}
        self._num_of: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._ended: Counter[str] = Counter()  # since the last line of the log
        self._look_every_s = min(_LOOK_EVERY_S, settings.head_timeout_s / 4)
        self._is_looking = False

    def enter(self, connection: Connection, address: str | None) -> Refusal | None:
        """Take a place and begin to wait; says why there is none."""
        owner = self._owner(address)
        most = self._settings.max_per_address
        if owner is not None and most and self._num_of[owner] >= most:
            return ADDRESS_FULL
        if len(self._owners) >= self._settings.max_open:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return SERVER_FULL
            self.leave(longest)
            longest.give_way()
            self.note("gave_way")
        self._owners[connection] = owner
        self._metrics.open_connections.inc()
        if owner is not None:
            self._num_of[owner] += 1
        self.waits(connection)
        self._look_later()
        return None

    def leave(self, connection: Connection) -> None:
        """Give the place back, if there is one."""
        self._waiting.pop(connection, None)
        if connection not in self._owners:
            return
        self._metrics.open_connections.dec()
        owner = self._owners.pop(connection)
        if owner is not None:
            self._num_of[owner] -= 1
            if not self._num_of[owner]:
                del self._num_of[owner]

    def waits(self, connection: Connection) -> None:
        """Nothing of this one is served: it gives way when it has waited longest."""
        if connection in self._owners:
            self._waiting.setdefault(connection)

    def serves(self, connection: Connection) -> None:
        """A request of this one has begun."""
        self._waiting.pop(connection, None)

    def note(self, why: str) -> None:
        """Count an end that the server made; a line a second at most says how many."""
        self._ended[why] += 1
        self._metrics.ended_connections.labels(why).inc()
        self._look_later()

    def _owner(self, address: str | None) -> str | None:
        if address is None:
            return None
        try:
            ip = ip_address(address)
        except ValueError:  # a socket's path, say
            return None
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if any(ip in network for network in self._trusted):
            return None
        return str(ip_network((ip, _OF_ONE_OWNER), strict=False)) if ip.version == 6 else str(ip)

    def _look_later(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(self._look_every_s, self._look)

    def _look(self) -> None:
        self._is_looking = False
        now_s = asyncio.get_running_loop().time()
        for connection in list(self._owners):
            connection.look(now_s)
        if self._ended:
            log.warning("connections_ended", **self._ended, num_open=len(self._owners))
            self._ended.clear()
        if self._owners:
            self._look_later()
