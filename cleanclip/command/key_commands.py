"""`keys …`: make, list, show, rename, rotate, revoke."""

from typing import Annotated

import typer

from cleanclip.command import completion, views
from cleanclip.command.commands import Commands
from cleanclip.command.listing import AfterOption, LimitOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.project_models import IssuedKey

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Its id, key_…", autocompletion=completion.keys)]

keys = Commands(no_args_is_help=True, help="API keys of the project. Needs a key with scope admin.")


@keys.command("create")
def create_key(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="A name to tell keys apart.")],
    scope: Annotated[list[str], typer.Option("--scope", help="read, upload, run or admin; repeatable.")],
    expires_days: Annotated[
        float | None, typer.Option(min=0.001, max=3650, help="Default: valid until it is revoked.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a key and print it. It cannot be shown again.

    Example: cleanclip keys create "nightly audits" --scope read --scope run
    """
    expires_in_s = None if expires_days is None else round(expires_days * 86_400)
    with session_of(context).client() as client:
        found = client.keys.create(name=name, scopes=scope, expires_in_s=expires_in_s)
    _show_issued(Output(is_json=as_json), found)


@keys.command("ls")
def list_keys(
    context: typer.Context, *, limit: LimitOption = 20, after: AfterOption = None, as_json: JsonFlag = False
) -> None:
    """List keys, newest first, revoked and expired ones too.

    Example: cleanclip keys ls
    """
    with session_of(context).client() as client:
        page = client.keys.list(limit=limit, after=after)
    Output(is_json=as_json).result(page.to_json(), views.keys(page.data))


@keys.command("show")
def show_key(context: typer.Context, key: KeyId, as_json: JsonFlag = False) -> None:
    """Show what a key may do, and when it was last used.

    Example: cleanclip keys show key_…
    """
    with session_of(context).client() as client:
        found = client.keys.get(key)
    Output(is_json=as_json).result(found.to_json(), views.key(found))


@keys.command("rename")
def rename_key(
    context: typer.Context,
    *,
    key: KeyId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new one.")],
    as_json: JsonFlag = False,
) -> None:
    """Give a key another name.

    Example: cleanclip keys rename key_… "nightly audits of release 7"
    """
    with session_of(context).client() as client:
        found = client.keys.rename(key, name)
    Output(is_json=as_json).result(found.to_json(), views.key(found))


@keys.command("rotate")
def rotate_key(
    context: typer.Context,
    *,
    key: KeyId,
    overlap_hours: Annotated[
        float | None, typer.Option(min=0, max=720, help="How long the old key stays valid. Default: a day.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Replace a key: print a new one with the same name and scopes. It cannot be shown again.

    Example: cleanclip keys rotate key_… --overlap-hours 1
    """
    overlap_s = None if overlap_hours is None else round(overlap_hours * 3600)
    with session_of(context).client() as client:
        found = client.keys.rotate(key, overlap_s=overlap_s)
    _show_issued(Output(is_json=as_json), found)


@keys.command("revoke")
def revoke_key(context: typer.Context, key: KeyId, as_json: JsonFlag = False) -> None:
    """Revoke a key for good.

    Example: cleanclip keys revoke key_…
    """
    with session_of(context).client() as client:
        found = client.keys.revoke(key)
    Output(is_json=as_json).result(found.to_json(), f"{found.id} {found.state}")


def _show_issued(output: Output, issued: IssuedKey) -> None:
    output.note(f"{issued.id} ({', '.join(issued.scopes)}). The key is shown only once:")
    output.result(issued.to_json(), issued.key or "")
