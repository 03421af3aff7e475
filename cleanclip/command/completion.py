"""What the shell gets when somebody presses the tabulator: names of the vocabulary, ids of the project.

Ids are asked of the service, once and briefly; where it does not answer, there is nothing to complete.
"""

from collections.abc import Callable
from typing import Any, get_args

import typer

from cleanclip.command import settings
from cleanclip.command.formats import plain
from cleanclip.command.session import Session
from cleanclip.errors import CleanClipError
from cleanclip.retries import Retries
from cleanclip.sync.client import Client
from cleanclip.vocabulary.attack_options import SUITES, AttackOptions
from cleanclip.vocabulary.recipe import Recipe

METHODS = tuple(kind.method for kind in get_args(get_args(Recipe)[0]))
ATTACKS = tuple(kind.attack for kind in get_args(get_args(AttackOptions)[0]))
_PATIENCE_S = 2.0
_MOST = 50

Completion = Callable[[typer.Context, str], list[tuple[str, str]]]


def names(*known: str) -> Completion:
    """Of those that begin as what was typed."""

    def complete(_context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        return [(name, "") for name in known if name.startswith(incomplete)]

    return complete


def ids(noun: str, describe: Callable[[Any], str], *, field: str = "id", **query: str) -> Completion:
    """The newest of `client.NOUN.list()`, each with a word on it."""

    def complete(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        try:
            with _client(context) as client:
                found = getattr(client, noun).list(limit=_MOST, **query).data
        except (CleanClipError, settings.NotConfigured, ValueError, OSError):
            return []
        return [
            (str(getattr(one, field)), plain(describe(one)))
            for one in found
            if str(getattr(one, field)).startswith(incomplete)
        ]

    return complete


def _client(context: typer.Context) -> Client:
    given = context.find_root().params
    target = settings.find(given.get("url"), given.get("api_key"), given.get("profile"))
    session = context.find_object(Session) or Session()
    return Client(
        target.url,
        target.api_key,
        timeout_s=_PATIENCE_S,
        transport=session.transport,
        retries=Retries(max_tries=1),
    )


methods = names(*METHODS)
attacks = names(*ATTACKS)
suites = names(*SUITES)
kinds = names("pairs", "labelled")
checkpoints = ids("checkpoints", lambda one: f"{one.filename} {one.state}")
jobs = ids("jobs", lambda one: f"{one.kind} {one.state}")
keys = ids("keys", lambda one: one.name)
labelled = ids("datasets", lambda one: one.uri or one.upload_id or "", kind="labelled", state="ready")
pairs = ids("datasets", lambda one: one.uri or one.upload_id or "", kind="pairs", state="ready")
datasets = ids("datasets", lambda one: f"{one.kind} {one.state}")
policies = ids("policies", lambda one: "", field="name")
