"""`upload`: a checkpoint (or a file for a dataset) to the service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import values, views
from cleanclip.command.option_checks import check_declared
from cleanclip.command.output import Output, ProgressLine
from cleanclip.command.session import (
    JsonFlag,
    TimeoutOption,
    WaitFlag,
    on_interrupt,
    session_of,
    show_transfer,
    wait_for_checkpoint,
)
from cleanclip.errors import NotACheckpoint
from cleanclip.sync.client import Client
from cleanclip.transfer import SentFile
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.first_bytes import HEAD_BYTES, container_of_head

TAKE_UP = "the same command continues where it stopped."

FileArgument = Annotated[Path, typer.Argument(callback=values.readable_file, metavar="FILE")]


def upload(
    context: typer.Context,
    *,
    file: FileArgument,
    declared: Annotated[
        list[str] | None,
        typer.Option(
            "--declared",
            metavar="NAME=VALUE",
            help="What the tensors do not say, e.g. quick_gelu=true, num_heads_vision=12.",
        ),
    ] = None,
    purpose: Annotated[str, typer.Option(help="checkpoint or dataset.")] = "checkpoint",
    sha256: Annotated[str | None, typer.Option(help="The digest that the file should have.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--again", help="Continue this interrupted upload of the file.")
    ] = True,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a file in parts, straight to the object store; if interrupted, run it again to continue.

    Prints the checkpoint's id. With --wait it also waits for the inspection, compares digests and prints the
    result; with --quiet it prints only the id.

    Example: cleanclip upload clip.pt --declared quick_gelu=true --wait
    """
    if purpose not in {"checkpoint", "dataset"}:
        raise typer.BadParameter("--purpose is checkpoint or dataset.")
    options = values.declared(declared, file)
    check_declared(options)
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        sent = send(client, output, file, purpose=purpose, declared=options, sha256=sha256, resume=resume)
        if sent.checkpoint_id is None or not wait:
            output.result(_document(sent), sent.checkpoint_id or sent.id)
            return
        found = wait_for_checkpoint(client, output, sent.checkpoint_id, timeout_s=timeout, sha256=sent.sha256)
    document = _document(sent) | {"checkpoint": found.to_json()}
    output.result(document, views.checkpoint(found), made=found.id)


def send(
    client: Client,
    output: Output,
    file: Path,
    *,
    declared: Mapping[str, Any],
    purpose: str = "checkpoint",
    sha256: str | None = None,
    resume: bool = True,
) -> SentFile:
    """Send it with a live line, and say how it went. Raises NotACheckpoint before anything is sent."""
    if purpose == "checkpoint":
        check_head(file)
    with on_interrupt(output, TAKE_UP), ProgressLine() as line:
        sent = client.uploads.upload_file(
            file,
            purpose=purpose,
            declared=declared,
            sha256=sha256,
            resume=resume,
            progress=lambda done: show_transfer(line, file.name, done),
        )
    _tell(output, sent)
    return sent


def check_head(file: Path) -> None:
    """Refuse what the service would refuse for its first bytes, once all of it was there. Raises
    NotACheckpoint."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    try:
        container_of_head(head)
    except CheckpointRejected as refusal:
        raise NotACheckpoint(file.name, refusal.code, str(refusal)) from refusal


def _tell(output: Output, sent: SentFile) -> None:
    if sent.is_streamed:
        output.note("The object store could not be reached; the file went through the service.")
    if sent.num_parts_resumed:
        output.note(f"{sent.num_parts_resumed} of {sent.upload.num_parts} parts were there already.")
    output.note(f"SHA-256 {sent.sha256}")


def _document(sent: SentFile) -> dict[str, Any]:
    return {
        "upload": sent.upload.to_json(),
        "checkpoint_id": sent.checkpoint_id,
        "sha256": sent.sha256,
        "num_parts_resumed": sent.num_parts_resumed,
        "is_streamed": sent.is_streamed,
    }
