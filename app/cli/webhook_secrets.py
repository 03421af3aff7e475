"""Webhooks: what seals their secrets changes."""

from __future__ import annotations

import argparse

from app.cli.access import operators_database
from app.cli.output import say
from app.db.sealing import Sealer
from app.services import operators
from app.settings import load_settings


def _run_reseal(_options: argparse.Namespace) -> int:
    keys = [key.get_secret_value() for key in load_settings().webhooks.encryption_keys]
    if not keys:
        say("There is no key: set CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS to the API's value.")
        return 1
    with operators_database() as database:
        num_sealed, unreadable = operators.reseal_webhooks(database, Sealer(keys))
    say(f"The secrets of {num_sealed} webhooks are encrypted with the first key.")
    if unreadable:
        say(f"No key decrypts those of {', '.join(unreadable)}: their projects must rotate them.")
    return 1 if unreadable else 0


def add_webhooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Its command."""
    parser = commands.add_parser("reseal-webhooks", help="encrypt all webhooks' secrets with the first key")
    parser.set_defaults(run=_run_reseal)
