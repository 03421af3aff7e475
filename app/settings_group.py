"""The base of every group of settings. Knows none of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator


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
