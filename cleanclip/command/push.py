"""`datasets push`: a local folder of images becomes a dataset of the project. `datasets pack`: it becomes the
same files in another folder."""

from pathlib import Path
from typing import Annotated

import typer

from cleanclip import packing
from cleanclip.command import completion, values, views
from cleanclip.command.formats import size, when
from cleanclip.command.output import Output, ProgressLine
from cleanclip.command.session import (
    JsonFlag,
    NameOption,
    TimeoutOption,
    WaitFlag,
    on_interrupt,
    session_of,
    show_transfer,
    wait_for_dataset,
)
from cleanclip.command.upload import TAKE_UP
from cleanclip.local_data import contents_of
from cleanclip.models import Dataset
from cleanclip.packing import Contents
from cleanclip.sync.client import Client
from cleanclip.sync.datasets import MAX_SKIPPED_SHARE
from cleanclip.transfer import TransferProgress

_NAMED = 3

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder, or one CSV or TSV file.")]
KindOption = Annotated[
    str | None,
    typer.Option(help="pairs or labelled, if the folder could be either.", autocompletion=completion.kinds),
]
ClassNamesOption = Annotated[
    Path | None,
    typer.Option(help="File with one class name per line, in the order of the labels.", metavar="FILE"),
]
TemplatesOption = Annotated[
    Path | None, typer.Option(help="File with one template per line, {c} for the class.", metavar="FILE")
]


def push(
    context: typer.Context,
    *,
    folder: FolderArgument,
    kind: KindOption = None,
    name: NameOption = None,
    class_names: ClassNamesOption = None,
    templates: TemplatesOption = None,
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
    output = Output(is_json=as_json)
    contents = _contents(folder, kind, class_names, templates)
    _tell(output, contents)
    with session_of(context).client() as client:
        found = _pushed(
            client, output, contents, name=name, max_skipped_share=max_skipped_share, is_again=again
        )
        if wait:
            output.note(found.id)
            found = wait_for_dataset(client, output, found.id, timeout_s=timeout)
    output.result(found.to_json(), views.dataset(found) if wait else found.id, made=found.id)


def pack(
    *,
    folder: FolderArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the shard and its lists.")],
    kind: KindOption = None,
    class_names: ClassNamesOption = None,
    templates: TemplatesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Write what `datasets push` sends into a folder, and send nothing. Prints the folder.

    The library reads the folder as the service reads the pushed dataset: build a null set from it, and the
    null fits scans with the dataset. Give the options that you push with.

    Example: cleanclip datasets pack photos/ --out packed/
    """
    if out.exists() and any(out.iterdir()):
        raise typer.BadParameter("--out is not empty: its files would be part of the set.")
    output = Output(is_json=as_json)
    contents = _contents(folder, kind, class_names, templates)
    _tell(output, contents)
    with ProgressLine() as line:
        for done in packing.pack_into(contents, out):
            line.show("packing", f"{done:,} of {len(contents.samples):,} samples")
    written = {"folder": str(out), "kind": contents.kind, "num_samples": len(contents.samples)}
    output.result(written, str(out))


def _contents(folder: Path, kind: str | None, class_names: Path | None, templates: Path | None) -> Contents:
    if kind not in {None, "pairs", "labelled"}:
        raise typer.BadParameter("--kind is pairs or labelled.")
    return contents_of(
        folder,
        kind=kind,
        class_names=None if class_names is None else values.lines(class_names, "--class-names"),
        templates=None if templates is None else values.lines(templates, "--templates"),
    )


def _tell(output: Output, contents: Contents) -> None:
    """What is sent and what is not."""
    num_used, num_left_out = len(contents.samples), len(contents.left_out)
    classes = f" of {len(contents.class_names)} classes" if contents.class_names else ""
    noun = "pairs" if contents.kind == "pairs" else "labelled images"
    output.note(f"{num_used:,} {noun}{classes}, {size(contents.size_bytes)}")
    if num_left_out:
        named = "\n".join(f"  {sentence}" for sentence in contents.left_out[:_NAMED])
        output.note(f"{num_left_out:,} files cannot be used and are left out:\n{named}")


def _pushed(
    client: Client,
    output: Output,
    contents: Contents,
    *,
    name: str | None,
    max_skipped_share: float,
    is_again: bool,
) -> Dataset:
    """With a live line while it packs and sends."""
    total = len(contents.samples)
    shard = packing.shard_of(contents).name
    sent = []
    with on_interrupt(output, TAKE_UP), ProgressLine() as line:

        def on_transfer(done: TransferProgress) -> None:
            sent.append(done.done_bytes)
            show_transfer(line, shard, done)

        found = client.datasets.push(
            contents,
            name=name,
            max_skipped_share=max_skipped_share,
            resume=not is_again,
            on_packed=lambda done: line.show("packing", f"{done:,} of {total:,} samples"),
            progress=on_transfer,
        )
    if not sent:
        output.note(f"{found.id} was pushed {when(found.created_at)} (--again sends it again)")
    return found
