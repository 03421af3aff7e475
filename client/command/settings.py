"""Which service and key: options, then the environment, then a profile of the file that `login` writes.

The file holds the profile "default" at its top, as ever, and others under "profiles". A profile's key goes to
the address that it was kept with and to no other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client import places

DEFAULT = "default"


class NotConfigured(Exception):
    """No address or no key is known. `is_key` tells which."""

    def __init__(self, message: str, *, is_key: bool) -> None:
        super().__init__(message)
        self.is_key = is_key


@dataclass(frozen=True, kw_only=True)
class Profile:
    """An address and a key that are kept under a name; either may be missing."""

    url: str | None
    api_key: str | None


@dataclass(frozen=True, kw_only=True)
class Target:
    url: str
    api_key: str
    profile: str
    key_from: str
    """Where the key came from, for people: 'option', 'environment' or the file's path."""


def profiles() -> dict[str, Profile]:
    """All that are kept, by name."""
    stored = places.read_json(places.config_path())
    others = stored.get("profiles")
    found = {DEFAULT: stored} if stored.get("url") or stored.get("api_key") else {}
    found |= others if isinstance(others, dict) else {}
    return {name: _profile(content) for name, content in found.items() if isinstance(content, dict)}


def chosen(profile: str | None) -> str:
    """The name of the profile: that of the option, else of CLEANCLIP_PROFILE, else 'default'."""
    return profile or os.environ.get("CLEANCLIP_PROFILE") or DEFAULT


def find(url: str | None, api_key: str | None, profile: str | None = None) -> Target:
    """A profile that is named by an option wins over the environment. Raises NotConfigured."""
    name = chosen(profile)
    kept = profiles()
    if name not in kept and name != DEFAULT:
        raise NotConfigured(
            f"There is no profile {name!r}{_among(kept)}. Make it: cleanclip login --profile {name}",
            is_key=True,
        )
    stored = kept.get(name, Profile(url=None, api_key=None))
    environment: Mapping[str, str] = {} if profile else os.environ
    found_url = url or environment.get("CLEANCLIP_URL") or stored.url
    own_key = api_key or environment.get("CLEANCLIP_API_KEY")
    found_key = own_key or stored.api_key
    if not found_url:
        raise NotConfigured(
            "Which service? Run `cleanclip login`, set CLEANCLIP_URL, or give --url.", is_key=False
        )
    if not found_key:
        raise NotConfigured(
            "No API key is known. Run `cleanclip login`, or set CLEANCLIP_API_KEY.", is_key=True
        )
    if not own_key and stored.url is not None and found_url.rstrip("/") != stored.url.rstrip("/"):
        raise NotConfigured(
            f"The key of profile {name!r} is for {stored.url}, and is not sent to {found_url}. Set "
            "CLEANCLIP_API_KEY, or run `cleanclip login` with --url and --profile.",
            is_key=True,
        )
    key_from = "option" if api_key else "environment" if own_key else str(places.config_path())
    return Target(url=found_url, api_key=found_key, profile=name, key_from=key_from)


def store(url: str, api_key: str, name: str = DEFAULT) -> str:
    """Write both to the configuration file, readable by this user only; returns its path."""
    path = places.config_path()
    _write(places.read_json(path), name, {"url": url, "api_key": api_key})
    return str(path)


def forget(name: str) -> bool:
    """Take a profile out of the file; False where there is none of that name."""
    if name not in profiles():
        return False
    _write(places.read_json(places.config_path()), name, None)
    return True


def _write(stored: dict[str, Any], name: str, content: dict[str, str] | None) -> None:
    if name == DEFAULT:
        kept = {key: value for key, value in stored.items() if key not in {"url", "api_key"}}
        kept |= content or {}
    else:
        others = {key: value for key, value in (stored.get("profiles") or {}).items() if key != name}
        kept = stored | {"profiles": others | ({} if content is None else {name: content})}
    places.write_private(places.config_path(), kept)


def _profile(content: Mapping[str, Any]) -> Profile:
    return Profile(url=_text(content.get("url")), api_key=_text(content.get("api_key")))


def _among(kept: Mapping[str, Profile]) -> str:
    return f" (there are: {', '.join(sorted(kept))})" if kept else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
