"""The command `cleanclip`: results on stdout, messages and progress on stderr, the outcome as exit status.

With --json stdout holds exactly one JSON document; where the command fails, it is {"error": …}.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from cleanclip.command import (
    access,
    compare,
    doctor,
    listing,
    orders,
    profiles,
    project,
    push,
    results,
    scan,
    upload,
    verify,
    vet,
)
from cleanclip.command.commands import Commands
from cleanclip.command.exit_codes import HELP, ExitCode, exit_code_of
from cleanclip.command.jobs import jobs
from cleanclip.command.key_commands import keys
from cleanclip.command.output import Output
from cleanclip.command.plain_order import command_for
from cleanclip.command.policies import policies
from cleanclip.command.session import Session
from cleanclip.command.settings import NotConfigured
from cleanclip.command.webhook_commands import webhooks
from cleanclip.errors import ApiError, CleanClipError, ErrorItem
from cleanclip.kinds.catalogue import KINDS

app = Commands(
    name="cleanclip",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=HELP,
    help="Is this CLIP checkpoint backdoored, and can you fix it? Upload, audit, clean, download.\n\n"
    "Results are on stdout, messages on stderr. Address and key come from the options, from CLEANCLIP_URL "
    "and CLEANCLIP_API_KEY, or from a profile that `cleanclip login` saved, in this order. --profile (which "
    "overrides the environment) or CLEANCLIP_PROFILE chooses the profile.\n\n"
    "\b\nExamples:\n"
    "  cleanclip login --url https://clean.example.org\n"
    "  cleanclip doctor\n"
    "  cleanclip sanitize clip.pt --data s3://d/p/ --labelled s3://d/t/ --target banana --download out\n"
    "  cleanclip --install-completion",
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        Output(is_json=False).result(None, version("cleanclip"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    url: Annotated[str | None, typer.Option("--url", help="Address of the service.", metavar="URL")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            help="API key. Other users of this machine can see it; better use login.",
            metavar="KEY",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="Use the address and key that `login` saved under this name.", metavar="NAME"
        ),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps the options for the command that follows."""
    context.obj = replace(context.obj or Session(), url=url, api_key=api_key, profile=profile)


app.command()(access.login)
app.command()(access.check)
app.command()(doctor.doctor)
app.add_typer(profiles.profiles, name="profiles")
app.command()(upload.upload)
listing.datasets.command("push")(push.push)
listing.datasets.command("pack")(push.pack)
app.add_typer(listing.datasets, name="datasets")
app.add_typer(listing.checkpoints, name="checkpoints")
app.command()(orders.sanitize)
app.command()(orders.audit)
app.command()(scan.scan)
app.command()(vet.vet)
for _kind in KINDS.values():
    if _kind.report is not None:
        app.command(_kind.command)(command_for(_kind))
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")
app.add_typer(policies, name="policies")
app.add_typer(scan.nulls, name="nulls")
app.add_typer(webhooks, name="webhooks")
app.command()(project.usage)
app.command()(project.trail)
app.add_typer(project.deletions, name="deletions")
app.command()(results.report)
app.command()(compare.compare)
app.command()(results.download)
app.command()(verify.verify)


def main(arguments: Sequence[str] | None = None, *, session: Session | None = None) -> None:
    """Run the command and end the process with its status. `session` replaces network and time, in tests."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    output = Output(is_json="--json" in given)
    try:
        # Typer ends the process by itself, but not where a fault that it finds is to be a document.
        status = app(given, prog_name="cleanclip", obj=session, standalone_mode=not output.is_json)
        sys.exit(status if isinstance(status, int) else ExitCode.OK)
    except TyperException as error:
        _end(output, error, ExitCode.USAGE)
    except (CleanClipError, NotConfigured, KeyboardInterrupt) as error:
        _end(output, error, exit_code_of(error))
    except OSError as error:
        _end(output, error, ExitCode.UNEXPECTED)
    except Exception as error:
        if os.environ.get("CLEANCLIP_DEBUG"):
            raise
        _end(output, error, ExitCode.UNEXPECTED)


def _end(output: Output, error: BaseException, code: ExitCode) -> None:
    output.error(_error_text(error))
    if output.is_json:
        output.result({"error": _document(error, code)}, "")
    sys.exit(code)


def _error_text(error: BaseException) -> str:
    if isinstance(error, TyperException):
        return error.format_message()
    if not isinstance(error, ApiError):
        return str(error) or type(error).__name__
    lines = [str(error)]
    lines += [reported for item in error.errors if (reported := _reported_value(item, error.detail))]
    if error.request_id is not None:
        lines.append(f"  ({error.code}, request {error.request_id})")
    return "\n".join(lines)


def _reported_value(item: ErrorItem, detail: str) -> str:
    """A value that cannot be used, without what the problem's own sentence has said of it."""
    where = item.pointer or item.parameter or ""
    if where and detail.startswith(f"{where}: {item.detail}"):
        return ""
    if item.detail == detail:
        return f"  at {where}" if where else ""
    return f"  {where}: {item.detail}"


def _document(error: BaseException, code: ExitCode) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": str(error) if isinstance(error, ApiError) else _error_text(error),
        "exit_code": int(code),
    }
    if isinstance(error, ApiError):
        document |= {
            "status": error.status,
            "code": error.code,
            "detail": error.detail,
            "remedy": error.remedy,
            "request_id": error.request_id,
            "errors": [
                {"pointer": item.pointer, "parameter": item.parameter, "detail": item.detail}
                for item in error.errors
            ],
        }
    return document


if __name__ == "__main__":
    main()
