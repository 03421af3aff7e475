"""`datasets push`: a local folder of images becomes a dataset of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cleanclip import packing
from cleanclip.command import completion, values, views
from cleanclip.command.formats import size, when
from cleanclip.command.memory import Memory
from cleanclip.command.output import Output, ProgressLine
from cleanclip.command.session import (
    JsonFlag,
    TimeoutOption,
    WaitFlag,
    on_interrupt,
    session_of,
    wait_for_dataset,
)
from cleanclip.command.upload import TAKE_UP, send
from cleanclip.errors import NotFound, Unreadable
from cleanclip.local_data import contents_of
from cleanclip.models import Dataset
from cleanclip.packing import Contents
from cleanclip.sync.client import Client

MAX_SKIPPED_SHARE = 0.01
"""The service's default."""
_NAMED = 3


def push(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, or one CSV or TSV file.")],
    kind: Annotated[
        str | None,
        typer.Option(
            help="pairs or labelled, if the folder could be either.", autocompletion=completion.kinds
        ),
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(help="File with one class name per line, in the order of the labels.", metavar="FILE"),
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="File with one template per line, {c} for the class.", metavar="FILE")
    ] = None,
    max_skipped_share: Annotated[
        float, typer.Option(min=0, max=1, help="The data is refused above this share of bad samples.")
    ] = MAX_SKIPPED_SHARE,
    again: Annotated[bool, typer.Option("--again", help="Send it again even if it was sent before.")] = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a local folder of images as a dataset. Prints its id; with --wait the whole dataset, unless
    --quiet.

    The folder may have class folders (NAME/a.jpg), captions beside images (a.jpg, a.txt), one CSV or TSV file
    that names images and captions or labels, or WebDataset shards (.tar). It is packed into one shard first.
    When interrupted or repeated, the command continues where it stopped.

    Example: cleanclip datasets push photos/ --wait
    """
    if kind not in {None, "pairs", "labelled"}:
        raise typer.BadParameter("--kind is pairs or labelled.")
    output = Output(is_json=as_json)
    contents = contents_of(
        folder,
        kind=kind,
        class_names=None if class_names is None else values.lines(class_names, "--class-names"),
        templates=None if templates is None else values.lines(templates, "--templates"),
    )
    _tell(output, contents, max_skipped_share)
    with session_of(context).client() as client:
        found = _pushed(client, output, contents, max_skipped_share, is_again=again)
        if wait:
            output.note(found.id)
            found = wait_for_dataset(client, output, found.id, timeout_s=timeout)
    output.result(found.to_json(), views.dataset(found) if wait else found.id, made=found.id)


def _tell(output: Output, contents: Contents, max_skipped_share: float) -> None:
    """What is sent and what is not. Raises Unreadable where too much is not."""
    num_used, num_left_out = len(contents.samples), len(contents.left_out)
    classes = f" of {len(contents.class_names)} classes" if contents.class_names else ""
    noun = "pairs" if contents.kind == "pairs" else "labelled images"
    output.note(f"{num_used:,} {noun}{classes}, {size(contents.size_bytes)}")
    if not num_left_out:
        return
    named = "\n".join(f"  {one}" for one in contents.left_out[:_NAMED])
    message = f"{num_left_out:,} files cannot be used:\n{named}"
    if num_left_out > max_skipped_share * (num_used + num_left_out):
        raise Unreadable(f"{message}\nThat is more than --max-skipped-share {max_skipped_share:g} allows.")
    output.note(f"{message}\nThey are left out.")


def _pushed(
    client: Client, output: Output, contents: Contents, max_skipped_share: float, *, is_again: bool
) -> Dataset:
    """Each step looks first for what an earlier run of the same folder did."""
    memory = Memory("pushes", client.base_url, contents.identity, max_skipped_share)
    known = {} if is_again else memory.recall()
    if (found := _usable(client, known.get("dataset_id"))) is not None:
        output.note(f"{found.id} was pushed {when(found.created_at)} (--again sends it again)")
        return found
    upload_id = known.get("upload_id")
    if not isinstance(upload_id, str) or not _is_whole(client, upload_id):
        upload_id = _sent(client, output, contents, is_again=is_again)
        memory.remember(upload_id=upload_id)
    found = client.datasets.create(
        kind=contents.kind,
        upload_id=upload_id,
        class_names=contents.class_names,
        templates=contents.templates,
        max_skipped_share=max_skipped_share,
    )
    memory.remember(dataset_id=found.id)
    return found


def _sent(client: Client, output: Output, contents: Contents, *, is_again: bool) -> str:
    with on_interrupt(output, TAKE_UP), ProgressLine() as line:
        total = len(contents.samples)
        shard = packing.pack(contents, lambda done: line.show("packing", f"{done:,} of {total:,} samples"))
    sent = send(client, output, shard, declared={}, purpose="dataset", resume=not is_again)
    packing.discard(shard)
    return sent.id


def _usable(client: Client, dataset_id: object) -> Dataset | None:
    if not isinstance(dataset_id, str):
        return None
    try:
        found = client.datasets.get(dataset_id)
    except NotFound:
        return None
    return None if found.state == "rejected" else found


def _is_whole(client: Client, upload_id: str) -> bool:
    try:
        return client.uploads.get(upload_id).state == "completed"
    except NotFound:
        return False
