"""Long groups of settings, and the base of every group: `connections`, `web`, `webhooks` of app.settings."""

import base64
import binascii
from ipaddress import ip_network
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)


class Group(BaseModel):
    """One concern. Unknown names are refused, so that a misspelt variable is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Server(Group):
    """A server that is reached by a `url`, whose `password` may be given apart from it."""

    password: SecretStr | None = None
    """Any characters; put into the URL as it must be written there."""

    @model_validator(mode="before")
    @classmethod
    def _put_the_password_in(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("password"):
            return given
        password = given["password"]
        plain = password.get_secret_value() if isinstance(password, SecretStr) else str(password)
        url = given.get("url") or _without_password(cls.model_fields["url"].default)
        return given | {"url": _with_password(url, plain)}


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}").geturl()


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, has_password, _ = user.partition(":")
    if has_password:
        raise ValueError("there are two passwords: one in `url` and one in `password`")
    return parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}").geturl()


_KIB = 1024


def networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for text in given:
        ip_network(text)
    return given


class ConnectionSettings(Group):
    """What one peer may cost before a request of it is known. Of each API process."""

    max_head_bytes: int = Field(default=32 * _KIB, ge=4 * _KIB, le=1024 * _KIB)
    """Request line and headers together (431); also the data between two chunks of a chunked body."""
    max_header_lines: int = Field(default=100, ge=16, le=1000)
    """Headers of one request, trailers included (431)."""
    head_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """From the connection's start, or from a later request's first byte, until the head is complete (408)."""
    keep_alive_s: int = Field(default=5, ge=1, le=600)
    """A connection without a request is kept for so long after an answer."""
    max_open: int = Field(default=1000, ge=16, le=100_000)
    """Connections of all peers together. Above it, the connection that has been idle longest is closed (503
    if none is idle)."""
    max_per_address: int = Field(default=200, ge=0, le=100_000)
    """Connections of one address (IPv6: of one /64), but for trusted proxies (429). 0: no limit."""


class WebSettings(Group):
    """Pages for people, below /ui/ of the API's address."""

    is_enabled: bool = True
    session_s: PositiveFloat = 8 * 3600.0
    """How long a browser stays signed in."""
    link_s: PositiveFloat = 3600.0
    """How long a link that signs in once can be opened."""
    secure_cookie: bool | None = None
    """Whether browsers send the session over https only. None: as the request that signs in came. Set it
    where a proxy ends TLS and is not named in CLEANCLIP_API__TRUSTED_PROXIES."""


class WebhookSettings(Group):
    """Messages to customers' servers. The API and the deliverer read it. Without a key nobody can make a
    webhook."""

    encryption_keys: tuple[SecretStr, ...] = ()
    """Each 32 random bytes in URL-safe base64. The first seals the webhooks' secrets, all of them open."""
    max_per_project: PositiveInt = 10
    timeout_s: PositiveFloat = 15.0
    """Time limit of one try, from the name look-up to the status of the answer."""
    lease_s: PositiveFloat = 60.0
    """A deliverer that has not reported how a try ended by then is believed lost, and the try made again."""
    poll_every_s: PositiveFloat = 1.0
    """How often a deliverer looks for due messages."""
    max_parallel: PositiveInt = 16
    """Tries at once in each deliverer, of as many webhooks."""
    disable_failing_after_days: PositiveFloat = 5.0
    """A webhook with nothing but failures for this long is disabled."""
    denied_networks: tuple[str, ...] = ()
    """Networks that are never connected to, beside everything that is not public: for example your own
    servers with public addresses."""
    allow_loopback: bool = False
    """For development: webhooks may go to this machine, by http too."""

    @field_validator("encryption_keys")
    @classmethod
    def _are_keys(cls, given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in given:
            try:
                num_bytes = len(base64.urlsafe_b64decode(key.get_secret_value()))
            except (binascii.Error, ValueError):
                num_bytes = 0
            if num_bytes != 32:
                raise ValueError("each of encryption_keys is 32 bytes in URL-safe base64")
        return given

    @field_validator("denied_networks")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return networks(given)

    @model_validator(mode="after")
    def _the_lease_outlives_a_try(self) -> Self:
        if self.lease_s < 2 * self.timeout_s:
            raise ValueError("lease_s must be at least two times timeout_s")
        return self
