"""The asynchronous client; `from cleanclip.aio.client import AsyncClient`. The other is made from it."""
