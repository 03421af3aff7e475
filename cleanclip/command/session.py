"""What every command works with: a client made from the options, and the waits with their live line."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
import typer

from cleanclip.command import settings, views
from cleanclip.command.exit_codes import ExitCode
from cleanclip.command.formats import plain, size, span
from cleanclip.command.output import Output, ProgressLine
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.retries import SYSTEM_CLOCK, Clock, Retries
from cleanclip.sync.client import Client
from cleanclip.transfer import TransferProgress

PATIENCE = Retries(max_tries=5)
"""People wait: an address where nobody answers is reported after some seven seconds."""

NameOption = Annotated[str | None, typer.Option(help="For people; it can be changed.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
WaitFlag = Annotated[bool, typer.Option("--wait", help="Wait until it is finished.")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", min=0, help="Wait at most this many seconds.", metavar="SECONDS")
]


@dataclass(frozen=True, kw_only=True)
class Session:
    """The first three are the options before the command's name; the rest is replaced in tests."""

    url: str | None = None
    api_key: str | None = None
    profile: str | None = None
    transport: httpx.BaseTransport | None = None
    clock: Clock = SYSTEM_CLOCK

    @contextmanager
    def client(self) -> Iterator[Client]:
        """For the address and key that are configured. Raises NotConfigured, typer.BadParameter."""
        target = settings.find(self.url, self.api_key, self.profile)
        with self.client_of(target.url, target.api_key) as client:
            yield client

    def client_of(self, url: str, api_key: str) -> Client:
        """Raises typer.BadParameter for an address or key that is not valid."""
        try:
            return Client(url, api_key, transport=self.transport, retries=PATIENCE, clock=self.clock)
        except ValueError as cause:
            raise typer.BadParameter(str(cause)) from cause


def session_of(context: typer.Context) -> Session:
    session = context.find_object(Session)
    assert session is not None, "the root command makes it"
    return session


@contextmanager
def on_interrupt(output: Output, message: str) -> Iterator[None]:
    """Ctrl-C inside ends the command as ever, after saying what continues and how to follow it again."""
    try:
        yield
    except KeyboardInterrupt:
        output.note(f"Interrupted; {message}")
        raise


def _still_going(output: Output, what: str, again: str) -> AbstractContextManager[None]:
    return on_interrupt(output, f"{what} continues. To follow it again: {again}")


def wait_for_checkpoint(
    client: Client, output: Output, checkpoint_id: str, *, timeout_s: float | None, sha256: str | None = None
) -> Checkpoint:
    """Follow the inspection. Raises Rejected, DigestMismatch, WaitTimeout."""
    again = f"cleanclip checkpoints wait {checkpoint_id}"
    with _still_going(output, "the inspection", again), ProgressLine() as line:
        return client.checkpoints.wait(
            checkpoint_id,
            timeout_s=timeout_s,
            sha256=sha256,
            on_progress=lambda found: line.show(f"{found.id} {found.state}", ""),
        )


def wait_for_dataset(client: Client, output: Output, dataset_id: str, *, timeout_s: float | None) -> Dataset:
    """Follow the validation. Raises Rejected, WaitTimeout."""
    again = f"cleanclip datasets wait {dataset_id}"
    with _still_going(output, "the validation", again), ProgressLine() as line:
        return client.datasets.wait(
            dataset_id,
            timeout_s=timeout_s,
            on_progress=lambda found: line.show(f"{found.id} {found.state}", ""),
        )


def wait_for_job(client: Client, output: Output, job_id: str, *, timeout_s: float | None) -> Job:
    """Follow the job to its end, whatever it is; tells what its first audit found. Raises WaitTimeout."""
    again, untold = f"cleanclip jobs wait {job_id}", {"before_verdict"}

    def show(found: Job) -> None:
        if untold and found.result is not None and found.result.preliminary:
            untold.clear()
            line.close()
            output.note(views.first_verdict(found.result.to_json()))
        line.show(*views.progress(found))

    with _still_going(output, "the job", again), ProgressLine() as line:
        return client.jobs.wait(job_id, timeout_s=timeout_s, on_progress=show, check=False)


def conclude(output: Output, job: Job, *, made: str | None = None) -> None:
    """Print a job that was waited for; a failed or cancelled one ends the command with its own status."""
    output.result(job.to_json(), views.job(job), made=made)
    if job.state == "failed":
        reason = job.error
        why = f": {views.why(reason)}" if reason else "."
        output.error(f"{job.id} failed{why}")
        raise typer.Exit(ExitCode.JOB_FAILED)
    if job.state == "cancelled":
        output.error(f"{job.id} was cancelled.")
        raise typer.Exit(ExitCode.JOB_CANCELLED)


def show_transfer(line: ProgressLine, name: str, done: TransferProgress) -> None:
    """The live line of an upload or download."""
    pieces = [f"{100 * done.fraction:3.0f} %", f"{size(done.done_bytes)} of {size(done.total_bytes)}"]
    if done.rate_bytes_per_s:
        pieces.append(f"{size(done.rate_bytes_per_s)}/s")
    if done.eta_s is not None:
        pieces.append(f"ETA {span(done.eta_s)}")
    line.show(plain(name), "  ".join(pieces))
