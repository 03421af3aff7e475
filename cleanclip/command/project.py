"""`usage`, `trail`, `deletions …`: what the project uses and may use, who did what, what was deleted."""

from typing import Annotated

import typer

from cleanclip.command.commands import Commands
from cleanclip.command.formats import fields, size, table, when
from cleanclip.command.listing import AfterOption, LimitOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.project_models import Deletion, Use

DeletionId = Annotated[str, typer.Argument(metavar="DELETION")]

deletions = Commands(no_args_is_help=True, help="Deletions and their receipts.")


def usage(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show what the project uses, and its limits.

    Example: cleanclip usage --json
    """
    with session_of(context).client() as client:
        found = client.usage()
    text = table(
        ("SHARE", "USED", "LIMIT"),
        [
            _row("running jobs", found.running_jobs),
            _row("waiting jobs", found.waiting_jobs),
            _row("stored", found.stored_bytes, is_bytes=True),
            _row("open uploads", found.bytes_in_flight, is_bytes=True),
            _row("open uploads", found.open_uploads),
            _row("database rows", found.row_bytes, is_bytes=True),
            _row("requests in a minute", found.requests_per_minute),
        ],
    )
    Output(is_json=as_json).result(found.to_json(), text)


def _row(name: str, use: Use, *, is_bytes: bool = False) -> tuple[str, str, str]:
    current, limit = (size(n) if is_bytes else str(n) for n in (use.current, use.limit))
    return name, current, limit


def trail(
    context: typer.Context,
    *,
    action: Annotated[
        str | None, typer.Option(help="Only changes with this action, e.g. key.create.")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="ID", help="Only of this job, upload, key…")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only by this key, key_…")] = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List who changed what, when and from where, newest first: the trail. Needs scope admin.

    Example: cleanclip trail --action key.create
    """
    with session_of(context).client() as client:
        page = client.trail.list(action=action, target_id=target, key_id=key, limit=limit, after=after)
    rows = [
        (
            when(row.created_at),
            row.action,
            row.target_id or "-",
            row.outcome if row.reason is None else f"{row.outcome}: {row.reason}",
            " ".join(filter(None, (row.key_name, row.key_id))) or row.actor or "-",
            row.remote_addr or "-",
        )
        for row in page.data
    ]
    text = table(("WHEN", "ACTION", "OF", "OUTCOME", "BY", "FROM"), rows)
    Output(is_json=as_json).result(page.to_json(), text)


@deletions.command("ls")
def list_deletions(
    context: typer.Context, limit: LimitOption = 20, after: AfterOption = None, as_json: JsonFlag = False
) -> None:
    """List deletions, newest first.

    Example: cleanclip deletions ls
    """
    with session_of(context).client() as client:
        page = client.deletions.list(limit=limit, after=after)
    rows = [(row.id, row.state, row.subject, row.subject_id, row.reason) for row in page.data]
    text = table(("ID", "STATE", "WHAT", "OF", "REASON"), rows)
    Output(is_json=as_json).result(page.to_json(), text)


@deletions.command("show")
def show_deletion(context: typer.Context, deletion: DeletionId, as_json: JsonFlag = False) -> None:
    """Show a deletion; once it is finished, the receipt.

    Example: cleanclip deletions show del_…
    """
    with session_of(context).client() as client:
        found = client.deletions.get(deletion)
    Output(is_json=as_json).result(found.to_json(), receipt(found))


def receipt(deletion: Deletion) -> str:
    """For people."""
    pairs: list[tuple[str, object]] = [
        ("id", deletion.id),
        ("what", f"{deletion.subject} {deletion.subject_id}"),
        ("state", deletion.state),
        ("reason", deletion.reason),
        ("asked", when(deletion.requested_at)),
        ("finished", when(deletion.finished_at)),
        ("objects", deletion.num_objects),
        ("bytes", None if deletion.num_bytes is None else size(deletion.num_bytes)),
        *((digest.name, digest.sha256) for digest in deletion.digests or ()),
    ]
    return fields(pairs)
