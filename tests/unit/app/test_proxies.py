"""Where a request comes from: the other end of the connection, or what a named proxy says."""

import asyncio

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from app.server.serving_options import proxy_options
from app.settings import ApiSettings


def address_seen(peer: str, said: str, *proxies: str) -> str:
    """What the application takes for the client's address, behind the server's own middleware."""
    seen: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["client"][0])

    config = uvicorn.Config(
        application, log_config=None, **proxy_options(ApiSettings(trusted_proxies=proxies))
    )
    config.load()
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", said.encode())]}
    asyncio.run(config.loaded_app(scope, None, None))
    return seen[0]


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.0.0.5", "192.0.2.1"])
def test_without_a_trusted_proxy_nobody_is_believed(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert address_seen(peer, "203.0.113.9") == peer


def test_a_trusted_proxy_is_believed_and_others_are_not() -> None:
    assert address_seen("10.0.0.5", "203.0.113.9", "10.0.0.0/24") == "203.0.113.9"
    assert address_seen("127.0.0.1", "203.0.113.9", "10.0.0.0/24") == "127.0.0.1"


def test_what_a_client_said_before_the_proxy_is_not_believed() -> None:
    assert address_seen("10.0.0.5", "1.1.1.1, 203.0.113.9", "10.0.0.5") == "203.0.113.9"
