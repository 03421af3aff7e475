"""`profiles …`: addresses and keys that `login` has kept on this machine. Asks no service."""

from __future__ import annotations

from typing import Annotated

import typer

from client import places
from client.command import settings
from client.command.access import shown
from client.command.commands import Commands
from client.command.formats import table
from client.command.output import Output
from client.command.session import JsonFlag, session_of

profiles = Commands(no_args_is_help=True, help="Addresses and keys that `login` has kept.")


@profiles.command("ls")
def list_profiles(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List profiles; the one that is used is marked.

    Example: cleanclip profiles ls
    """
    used = settings.chosen(session_of(context).profile)
    found = sorted(settings.profiles().items())
    rows = [
        ("*" if name == used else "", name, one.url or "-", shown(one.api_key) if one.api_key else "-")
        for name, one in found
    ]
    document = {
        "config": str(places.config_path()),
        "profiles": [
            {
                "name": name,
                "url": one.url,
                "key_prefix": shown(one.api_key) if one.api_key else None,
                "is_used": name == used,
            }
            for name, one in found
        ],
    }
    Output(is_json=as_json).result(document, table(("", "PROFILE", "SERVICE", "KEY"), rows))


@profiles.command("rm")
def remove_profile(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonFlag = False) -> None:
    """Forget a profile. The key stays valid: `keys revoke` ends it.

    Example: cleanclip profiles rm production
    """
    settings.forget(name)
    Output(is_json=as_json).result({"deleted": name}, f"{name} is forgotten.")
