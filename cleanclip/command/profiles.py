"""`profiles …`: addresses and keys that `login` has kept on this machine. Asks no service."""

from typing import Annotated

import typer

from cleanclip import places
from cleanclip.command import settings
from cleanclip.command.access import shown
from cleanclip.command.commands import Commands
from cleanclip.command.formats import table
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, Session, session_of

profiles = Commands(no_args_is_help=True, help="Addresses and keys that `login` has saved.")


@profiles.command("ls")
def list_profiles(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List profiles; the one whose address or key is used is marked.

    Example: cleanclip profiles ls
    """
    used = _used(session_of(context))
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


def _used(session: Session) -> str | None:
    """As `check` says it; where something is missing yet, the one that would be."""
    try:
        return settings.find(session.url, session.api_key, session.profile).profile
    except settings.NotConfigured:
        return settings.chosen(session.profile)


@profiles.command("rm")
def remove_profile(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonFlag = False) -> None:
    """Delete a profile. The key stays valid until `keys revoke`.

    Example: cleanclip profiles rm production
    """
    settings.forget(name)
    Output(is_json=as_json).result({"deleted": name}, f"{name} is forgotten.")
