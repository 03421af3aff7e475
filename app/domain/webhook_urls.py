"""Where webhooks may go, and checkpoints come from: https to public addresses. The form of an address, and
which numbers are public.

A customer chooses the address and a process of ours connects to it: whatever stands near that process
(databases, metadata services of clouds, neighbours) must be out of reach. So the form is checked when it is
given and before each try, and what its name leads to is checked where the connection is made
(worker/outward.py). Standard library only; resolves nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from app.domain.errors import InvalidInput

MAX_URL_CHARACTERS = 2048
_PRINTABLE = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HTTPS_PORT, _HTTP_PORT = 443, 80
_FIRST_FREE_PORT = 1024
_LOCALHOST = "localhost"

_NEVER = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # for protocols; Teredo among them: an IPv4 address that a gateway unpacks
        "2002::/16",  # 6to4, likewise
        "192.88.99.0/24",  # its relays
        "192.0.0.0/24",  # for protocols, and metadata in a cloud
        "168.63.129.16/32",  # a public number; in Azure the host's own services answer there
        "3fff::/20",  # documentation
    )
)
"""Beside everything that is not global: what Python's tables call global, or called so in some version."""
_GLOBAL_V6 = IPv6Network("2000::/3")
"""Whatever else is routed somewhere is no server's: NAT64 (64:ff9b::/96), site-local (fec0::/10), …"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An address whose form is right. `path` has the query with it."""

    is_plain: bool
    """http, without TLS."""
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_usual = self.port == (_HTTP_PORT if self.is_plain else _HTTPS_PORT)
        return host if is_usual else f"{host}:{self.port}"


class ReachRules:
    """`allow_loopback`: for development, http included. `denied_networks`: more that is never connected
    to."""

    def __init__(self, *, allow_loopback: bool = False, denied_networks: Sequence[str] = ()) -> None:
        self._allow_loopback = allow_loopback
        self._denied: tuple[IPv4Network | IPv6Network, ...] = (*_NEVER, *map(ip_network, denied_networks))

    def check(self, url: str, *, max_characters: int = MAX_URL_CHARACTERS) -> Target:
        """Raises InvalidInput: `webhook_url_invalid`, or `webhook_url_not_allowed` for where we never connect
        to."""
        split = _split(url, max_characters)
        is_plain = split.scheme == "http"
        host, port = split.hostname or "", split.port or (_HTTP_PORT if is_plain else _HTTPS_PORT)
        literal = _literal(host)
        if literal is None and not _NAME.fullmatch(host):
            raise _invalid("The host is neither a name in ASCII nor an IP address.")
        is_here = host == _LOCALHOST or (literal is not None and literal.is_loopback)
        if self._allow_loopback and is_here:
            return Target(is_plain=is_plain, host=host, port=port, path=_path(split))
        if is_plain:
            raise _invalid("The address does not begin with https://.")
        if port != _HTTPS_PORT and port < _FIRST_FREE_PORT:
            raise _not_allowed(f"Port {port} is not allowed; use 443 or 1024 to 65535.")
        if literal is None and "." not in host:
            raise _not_allowed("The host is a name without a dot, which no public server has.")
        if literal is not None and not self.may_reach(host, is_plain=False):
            raise _not_allowed("The host is an IP address that is not public.")
        return Target(is_plain=False, host=host, port=port, path=_path(split))

    def may_reach(self, address: str, *, is_plain: bool) -> bool:
        """Whether a connection may be made to this number; without TLS to this very machine only, if at
        all."""
        found: IPv4Address | IPv6Address
        try:
            found = ip_address(address)
        except ValueError:
            return False
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if self._allow_loopback and found.is_loopback:
            return True
        return not is_plain and _is_public(found) and not any(found in network for network in self._denied)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def _split(url: str, max_characters: int) -> SplitResult:
    if len(url) > max_characters:
        raise _invalid(f"The address has more than {max_characters} characters.")
    if not _PRINTABLE.fullmatch(url):  # first: urlsplit takes line ends and tabs out without a word
        raise _invalid("The address has characters other than printable ASCII, or a backslash.")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise _invalid("The address cannot be read.") from None
    if split.scheme not in {"https", "http"}:
        raise _invalid("The address does not begin with https://.")
    if "@" in split.netloc:
        raise _invalid("The address holds a user or a password.")
    if "#" in url:
        raise _invalid("The address has a fragment, which is never sent.")
    if port == 0:
        raise _invalid("There is no port 0.")
    return split


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """None for a name. Forms that only some programs read as a number (127.1, 0x7f.1) are no host at all."""
    if ":" in host:
        try:
            return IPv6Address(host.replace("%", " "))  # no zone: it names a wire of this machine
        except ValueError:
            raise _invalid("The host is not an IPv6 address.") from None
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise _invalid("The host ends in a number but is not an IPv4 address.") from None


def _path(split: SplitResult) -> str:
    return (split.path or "/") + (f"?{split.query}" if split.query else "")


_FORM = (
    "Give an address like https://example.org/hooks: https, a public host, no user, no password, no fragment."
)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("webhook_url_invalid", message, _FORM, pointer="/url")


def _not_allowed(message: str) -> InvalidInput:
    return InvalidInput("webhook_url_not_allowed", message, _FORM, pointer="/url")
