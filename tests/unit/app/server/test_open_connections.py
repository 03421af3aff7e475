"""Places of connections: whose they are, and who gives way."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.live.metrics import Metrics
from app.server.connections import OpenConnections
from app.server.refusals import ADDRESS_FULL, SERVER_FULL
from app.settings_groups import ConnectionSettings


class Peer:
    """A connection that only `OpenConnections` knows."""

    def __init__(self) -> None:
        self.gave_way = False
        self.num_looks = 0

    def give_way(self) -> None:
        self.gave_way = True

    def look(self, _now_s: float) -> None:
        self.num_looks += 1


def with_places(test: Callable[[OpenConnections], None], *proxies: str, **limits: Any) -> None:
    async def inside() -> None:
        test(OpenConnections(ConnectionSettings(**limits), proxies, Metrics(dict)))

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("one", "another", "is_one_owner"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_an_address_is_counted_as_its_owner_has_it(one: str, another: str, is_one_owner: bool) -> None:
    def test(connections: OpenConnections) -> None:
        assert connections.enter(Peer(), one) is None
        assert (connections.enter(Peer(), another) is ADDRESS_FULL) is is_one_owner

    with_places(test, max_per_address=1)


@pytest.mark.parametrize("address", [None, "/run/api.sock", "10.1.2.3", "::ffff:10.1.2.3"])
def test_a_proxy_or_a_local_socket_is_not_counted_by_address(address: str | None) -> None:
    def test(connections: OpenConnections) -> None:
        for _ in range(5):
            assert connections.enter(Peer(), address) is None

    with_places(test, "10.0.0.0/8", max_per_address=1)


def test_a_place_that_was_left_is_free_again() -> None:
    def test(connections: OpenConnections) -> None:
        first = Peer()
        for _ in range(3):
            assert connections.enter(first, "192.0.2.1") is None
            assert connections.enter(Peer(), "192.0.2.1") is ADDRESS_FULL
            connections.leave(first)
            connections.leave(first)  # as a connection that gave way does

    with_places(test, max_per_address=1)


def test_the_one_that_has_waited_longest_gives_way_and_none_that_is_served() -> None:
    def test(connections: OpenConnections) -> None:
        peers = [Peer() for _ in range(16)]
        for peer in peers:
            connections.enter(peer, None)
        for peer in peers[:8]:
            connections.serves(peer)
        connections.waits(peers[0])  # again, and after all others
        for number in range(8, 16):
            late = Peer()
            assert connections.enter(late, None) is None
            connections.serves(late)
            assert [peer.gave_way for peer in peers] == [8 <= n <= number for n in range(16)]
        assert connections.enter(Peer(), None) is None
        assert peers[0].gave_way

    with_places(test, max_open=16)


def test_nobody_enters_where_all_are_served() -> None:
    def test(connections: OpenConnections) -> None:
        for _ in range(16):
            peer = Peer()
            assert connections.enter(peer, None) is None
            connections.serves(peer)
        assert connections.enter(Peer(), None) is SERVER_FULL

    with_places(test, max_open=16)


def test_connections_are_looked_at_until_none_is_left() -> None:
    async def inside() -> None:
        connections, peer = (
            OpenConnections(ConnectionSettings(head_timeout_s=0.04), (), Metrics(dict)),
            Peer(),
        )
        connections.enter(peer, None)
        while peer.num_looks < 3:
            await asyncio.sleep(0.01)
        connections.leave(peer)
        num_looks = peer.num_looks
        await asyncio.sleep(0.05)
        assert peer.num_looks == num_looks

    asyncio.run(asyncio.wait_for(inside(), 20))
