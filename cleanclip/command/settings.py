"""Which service and key: options, then the environment, then a profile of the file that `login` writes.

The file holds the profile "default" at its top, as ever, and others under "profiles". A profile's key goes to
the address that it was kept with and to no other.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cleanclip import places
from cleanclip.errors import Unreadable

DEFAULT = "default"


class NotConfigured(Exception):
    """What to ask which service with is not known on this machine; `part` tells what of it is missing."""

    def __init__(self, message: str, *, part: Literal["address", "profile", "key"]) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True, kw_only=True)
class Profile:
    """An address and a key that are kept under a name; either may be missing."""

    url: str | None
    api_key: str | None


@dataclass(frozen=True, kw_only=True)
class Target:
    url: str
    api_key: str
    profile: str | None
    """That the address or the key is of; None: neither is."""
    key_from: str
    """Where the key came from, for people: 'option', 'environment' or the file's path."""


def profiles() -> dict[str, Profile]:
    """All that are kept, by name. Raises Unreadable."""
    stored = _stored()
    others = stored.get("profiles")
    found = {DEFAULT: stored} if stored.get("url") or stored.get("api_key") else {}
    found |= others if isinstance(others, dict) else {}
    return {name: _profile(content) for name, content in found.items() if isinstance(content, dict)}


def chosen(profile: str | None) -> str:
    """The name of the profile: that of the option, else of CLEANCLIP_PROFILE, else 'default'."""
    return profile or os.environ.get("CLEANCLIP_PROFILE") or DEFAULT


def find(url: str | None, api_key: str | None, profile: str | None = None) -> Target:
    """A profile that is named by an option wins over the environment. Raises NotConfigured, Unreadable."""
    name = chosen(profile)
    kept = profiles()
    if name not in kept and name != DEFAULT:
        raise no_profile(name)
    stored = kept.get(name, Profile(url=None, api_key=None))
    environment: Mapping[str, str] = {} if profile else os.environ
    own_url = url or environment.get("CLEANCLIP_URL")
    found_url = own_url or stored.url
    own_key = api_key or environment.get("CLEANCLIP_API_KEY")
    found_key = own_key or stored.api_key
    if not found_url:
        raise NotConfigured(
            "No service address is known. Run `cleanclip login`, set CLEANCLIP_URL, or give --url.",
            part="address",
        )
    if not found_key:
        raise NotConfigured(
            "No API key is known. Run `cleanclip login`, or set CLEANCLIP_API_KEY.", part="key"
        )
    if not own_key and stored.url is not None and found_url.rstrip("/") != stored.url.rstrip("/"):
        raise NotConfigured(
            f"The key of profile {name!r} is for {stored.url}, and is not sent to {found_url}. Set "
            "CLEANCLIP_API_KEY, or run `cleanclip login` with --url and --profile.",
            part="key",
        )
    key_from = "option" if api_key else "environment" if own_key else str(places.config_path())
    used = None if own_url and own_key else name
    return Target(url=found_url, api_key=found_key, profile=used, key_from=key_from)


def store(url: str, api_key: str, name: str = DEFAULT) -> str:
    """Write both to the configuration file, readable by this user only; returns its path."""
    path = places.config_path()
    _write(_stored(), name, {"url": url, "api_key": api_key})
    return str(path)


def forget(name: str) -> None:
    """Take a profile out of the file. Raises NotConfigured where there is none of that name."""
    if name not in profiles():
        raise no_profile(name)
    _write(_stored(), name, None)


def _stored() -> dict[str, Any]:
    path = places.config_path()
    try:
        return places.read_json(path)
    except OSError as cause:
        raise Unreadable(f"{path} cannot be read: {cause.strerror}.") from cause


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


def no_profile(name: str) -> NotConfigured:
    """What to raise where there is none of that name."""
    kept = profiles()
    among = f" (there are: {', '.join(sorted(kept))})" if kept else ""
    return NotConfigured(
        f"There is no profile {name!r}{among}. Make it: cleanclip login --profile {name}", part="profile"
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
