"""The asynchronous client; `from cleanclip import AsyncClient`. The other is made from it."""
