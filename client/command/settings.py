"""Which service and key: options, then CLEANCLIP_URL and CLEANCLIP_API_KEY, then the file of `login`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from client import places


class NotConfigured(Exception):
    """No address or no key is known. `is_key` tells which."""

    def __init__(self, message: str, *, is_key: bool) -> None:
        super().__init__(message)
        self.is_key = is_key


@dataclass(frozen=True, kw_only=True)
class Target:
    url: str
    api_key: str
    key_from: str
    """Where the key came from, for people: 'option', 'environment' or the file's path."""


def find(url: str | None, api_key: str | None) -> Target:
    """Raises NotConfigured."""
    path = places.config_path()
    stored = places.read_json(path)
    found_url = url or os.environ.get("CLEANCLIP_URL") or _text(stored.get("url"))
    from_environment = os.environ.get("CLEANCLIP_API_KEY")
    found_key = api_key or from_environment or _text(stored.get("api_key"))
    if not found_url:
        raise NotConfigured(
            "Which service? Run `cleanclip login`, set CLEANCLIP_URL, or give --url.", is_key=False
        )
    if not found_key:
        raise NotConfigured(
            "No API key is known. Run `cleanclip login`, or set CLEANCLIP_API_KEY.", is_key=True
        )
    key_from = "option" if api_key else "environment" if from_environment else str(path)
    return Target(url=found_url, api_key=found_key, key_from=key_from)


def store(url: str, api_key: str) -> str:
    """Write both to the configuration file, readable by this user only; returns its path."""
    path = places.config_path()
    places.write_private(path, places.read_json(path) | {"url": url, "api_key": api_key})
    return str(path)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
