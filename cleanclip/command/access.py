"""`login` and `check`: which service, which key, and whether both work."""

import sys
from typing import Annotated

import typer

from cleanclip.command import settings
from cleanclip.command.formats import fields
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of


def login(
    context: typer.Context,
    *,
    url: Annotated[
        str | None, typer.Option(help="The address of the service, for example https://clean.example.org.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(help="The key. Better leave it out: the command asks for it, or reads it from stdin."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Save address and key under this profile name.", metavar="NAME")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check an address and a key, and save them in a file that only you can read.

    Example: cleanclip login --url http://127.0.0.1:8000

    Example: cleanclip login --url https://clean.example.org --profile production
    """
    session, output = session_of(context), Output(is_json=as_json)
    name = settings.chosen(profile or session.profile)
    url = url or session.url or typer.prompt("Address of the service", err=True)
    api_key = api_key or session.api_key or _asked_key()
    with session.client_of(url, api_key) as client:
        client.methods()
        address = client.base_url.rstrip("/")
    path = settings.store(address, api_key.strip(), name)
    output.note(f"The key works. It is kept as profile {name!r}.")
    output.result({"url": address, "profile": name, "config": path}, path)


def _asked_key() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True))
    return sys.stdin.readline()


def check(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print which service and key are used, and whether they work; `doctor` checks more.

    Example: cleanclip check
    """
    session, output = session_of(context), Output(is_json=as_json)
    target = settings.find(session.url, session.api_key, session.profile)
    with session.client() as client:
        known = client.methods()
        readiness = client.health()
    methods = [str(method.get("name")) for method in known.methods]
    document = {
        "url": target.url,
        "profile": target.profile,
        "key_prefix": shown(target.api_key),
        "key_from": target.key_from,
        "readiness": readiness,
        "methods": methods,
    }
    text = fields(
        [
            ("service", target.url),
            ("key", f"{shown(target.api_key)}… ({target.key_from})"),
            *((name, value) for name, value in readiness.items()),
            ("methods", ", ".join(methods)),
        ]
    )
    output.result(document, text)


def shown(api_key: str) -> str:
    """The part of a key that names it and gives nothing away."""
    head, _, _ = api_key.rpartition("_")
    return head or api_key[:4]
