"""The asynchronous client; `from client.aio.client import AsyncClient`. The other is made from it."""
