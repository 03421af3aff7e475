"""`jobs …`: list, show, wait, steer, and what happened."""

from collections.abc import Callable
from typing import Annotated

import typer

from cleanclip.command import completion, gate, views
from cleanclip.command.commands import Commands
from cleanclip.command.deletion_output import show_deletion
from cleanclip.command.gate import AllowFlag, FailOnOption, UncheckedFlag
from cleanclip.command.listing import AfterOption, LimitOption, NameArgument, StateOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, TimeoutOption, conclude, session_of, wait_for_job
from cleanclip.kinds.catalogue import PUBLIC
from cleanclip.models import Job
from cleanclip.sync.client import Client

JobId = Annotated[str, typer.Argument(metavar="JOB", autocompletion=completion.jobs)]

jobs = Commands(no_args_is_help=True, help="List, follow, pause, resume, retry and delete jobs.")


@jobs.command("ls")
def list_jobs(
    context: typer.Context,
    *,
    state: StateOption = None,
    kind: Annotated[str | None, typer.Option(help=f"{', '.join(PUBLIC)}.")] = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List jobs, newest first.

    Example: cleanclip jobs ls --state running
    """
    with session_of(context).client() as client:
        page = client.jobs.list(state=state, kind=kind, limit=limit, after=after)
    Output(is_json=as_json).result(page.to_json(), views.jobs(page.data))


@jobs.command("show")
def show_job(context: typer.Context, job: JobId, as_json: JsonFlag = False) -> None:
    """Show a job's state.

    Example: cleanclip jobs show job_…
    """
    with session_of(context).client() as client:
        found = client.jobs.get(job)
    Output(is_json=as_json).result(found.to_json(), views.job(found))


@jobs.command("rename")
def rename_job(context: typer.Context, job: JobId, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Give a job another name, in whatever state it is.

    Example: cleanclip jobs rename job_… "release 7, nightly"
    """
    with session_of(context).client() as client:
        found = client.jobs.rename(job, name or None)
    Output(is_json=as_json).result(found.to_json(), views.job(found))


@jobs.command("wait")
def wait_job(
    context: typer.Context,
    *,
    job: JobId,
    timeout: TimeoutOption = None,
    fail_on: FailOnOption = None,
    allow_inconclusive: AllowFlag = False,
    allow_unchecked: UncheckedFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Follow a job to its end: status 0 if it succeeded, 6 if it failed, 7 if it was cancelled.

    With --fail-on also 12, if the verdict is one of those named.

    Example: cleanclip jobs wait job_… --timeout 3600 --fail-on fail,undecided,inconclusive
    """
    output = Output(is_json=as_json)
    asked = gate.gate_of(fail_on, allow_inconclusive=allow_inconclusive, allow_unchecked=allow_unchecked)
    with session_of(context).client() as client:
        found = wait_for_job(client, output, job, timeout_s=timeout)
        worse = gate.worse_than_own(client, found)
    conclude(output, found)
    gate.warn(output, worse)
    gate.end(output, asked.why_shut(gate.own_outcome(found), gate.own_recheck(found), worse))


@jobs.command("rm")
def remove_job(context: typer.Context, job: JobId, as_json: JsonFlag = False) -> None:
    """Delete a finished job and all its files.

    Example: cleanclip jobs rm job_…
    """
    with session_of(context).client() as client:
        found = client.jobs.delete(job)
    show_deletion(Output(is_json=as_json), job, found)


def _add_action(name: str, what: str, act: Callable[[Client, str], Job]) -> None:
    @jobs.command(name, help=f"{what}\n\nExample: cleanclip jobs {name} job_…")
    def steer(context: typer.Context, job: JobId, as_json: JsonFlag = False) -> None:
        output = Output(is_json=as_json)
        with session_of(context).client() as client:
            found = act(client, job)
        shown = " ".join(views.progress(found)).strip()
        output.result(found.to_json(), shown if shown.startswith(found.id) else f"{found.id} {shown}")


_add_action("cancel", "Stop a job for good.", lambda client, job: client.jobs.cancel(job))
_add_action(
    "pause", "Pause a job: save what it has and free its worker.", lambda client, job: client.jobs.pause(job)
)
_add_action("resume", "Resume a paused job.", lambda client, job: client.jobs.resume(job))
_add_action("retry", "Try a failed job again.", lambda client, job: client.jobs.retry(job))


@jobs.command("events")
def list_events(
    context: typer.Context,
    *,
    job: JobId,
    after: Annotated[int | None, typer.Option(min=0, help="Only events with a larger number.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what happened to a job, oldest first.

    Example: cleanclip jobs events job_… --after 10 --json
    """
    with session_of(context).client() as client:
        found = tuple(client.jobs.all_events(job, after=after))
    Output(is_json=as_json).result(
        {"object": "list", "data": [event.to_json() for event in found]}, views.events(found)
    )
