"""Python client and command line of the service: `from cleanclip import Client`. Needs only the wire.

`vocabulary` is what all parts of the service share; `evidence` holds the offline checks of what it
publishes. `Client` and `AsyncClient` load when first used, so that neither of those needs a network library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cleanclip.aio.client import AsyncClient
    from cleanclip.sync.client import Client

__all__ = ["AsyncClient", "Client"]

_HOMES = {"AsyncClient": "cleanclip.aio.client", "Client": "cleanclip.sync.client"}


def __getattr__(name: str) -> object:
    """The class of this name. Raises AttributeError where there is none."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cleanclip' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
