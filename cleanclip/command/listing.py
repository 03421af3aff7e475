"""`checkpoints …` and `datasets …`: list, show, wait, add, remove."""

from pathlib import Path
from typing import Annotated

import typer

from cleanclip.command import completion, values, views
from cleanclip.command.commands import Commands
from cleanclip.command.deletion_output import show_deletion
from cleanclip.command.output import Output
from cleanclip.command.session import (
    JsonFlag,
    NameOption,
    TimeoutOption,
    WaitFlag,
    session_of,
    wait_for_checkpoint,
    wait_for_dataset,
)

LimitOption = Annotated[int, typer.Option(min=1, max=100, help="The most rows to list.")]
AfterOption = Annotated[
    str | None, typer.Option(help="Continue after this id (last_id of the previous page).")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The new name; '' removes it.")]
StateOption = Annotated[str | None, typer.Option(help="Only in this state.")]
CheckpointId = Annotated[str, typer.Argument(metavar="CHECKPOINT", autocompletion=completion.checkpoints)]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", autocompletion=completion.datasets)]

checkpoints = Commands(no_args_is_help=True, help="Uploaded checkpoints.")
datasets = Commands(no_args_is_help=True, help="Datasets: pairs to clean with, labelled sets to audit with.")


@checkpoints.command("ls")
def list_checkpoints(
    context: typer.Context,
    *,
    state: StateOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List checkpoints, newest first.

    Example: cleanclip checkpoints ls --state readable
    """
    state = "accepted" if state == "readable" else state
    with session_of(context).client() as client:
        page = client.checkpoints.list(state=state, limit=limit, after=after)
    Output(is_json=as_json).result(page.to_json(), views.checkpoints(page.data))


@checkpoints.command("show")
def show_checkpoint(context: typer.Context, checkpoint: CheckpointId, as_json: JsonFlag = False) -> None:
    """Show what a checkpoint is, or why it was rejected.

    Example: cleanclip checkpoints show ckpt_…
    """
    with session_of(context).client() as client:
        found = client.checkpoints.get(checkpoint)
    Output(is_json=as_json).result(found.to_json(), views.checkpoint(found))


@checkpoints.command("wait")
def wait_checkpoint(
    context: typer.Context,
    *,
    checkpoint: CheckpointId,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Wait for a checkpoint's inspection; a rejected one ends with status 3.

    Example: cleanclip checkpoints wait ckpt_…
    """
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        found = wait_for_checkpoint(client, output, checkpoint, timeout_s=timeout)
    output.result(found.to_json(), views.checkpoint(found))


@checkpoints.command("rm")
def remove_checkpoint(context: typer.Context, checkpoint: CheckpointId, as_json: JsonFlag = False) -> None:
    """Delete a checkpoint and its files.

    Example: cleanclip checkpoints rm ckpt_…
    """
    with session_of(context).client() as client:
        found = client.checkpoints.delete(checkpoint)
    show_deletion(Output(is_json=as_json), checkpoint, found)


@datasets.command("add")
def add_dataset(
    context: typer.Context,
    *,
    source: Annotated[str, typer.Argument(metavar="URI", help="s3://bucket/prefix/ or the id of an upload.")],
    kind: Annotated[str, typer.Option(help="pairs or labelled.", autocompletion=completion.kinds)],
    name: NameOption = None,
    class_names: Annotated[
        Path | None,
        typer.Option(help="File with one class name per line, in the order of the labels.", metavar="FILE"),
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(help="File with one template per line, {c} for the class.", metavar="FILE")
    ] = None,
    max_skipped_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="The dataset is rejected above this share of bad samples."),
    ] = None,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Register shards by reference. Prints the dataset's id; with --wait the whole dataset, unless --quiet.

    Example: cleanclip datasets add s3://data/pairs/ --kind pairs --wait
    """
    if kind not in {"pairs", "labelled"}:
        raise typer.BadParameter("--kind is pairs or labelled.")
    is_upload = values.dataset(source, "URI", kind).startswith("upl_")
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        found = client.datasets.create(
            kind=kind,
            name=name,
            uri=None if is_upload else source,
            upload_id=source if is_upload else None,
            class_names=None if class_names is None else values.lines(class_names, "--class-names"),
            templates=None if templates is None else values.lines(templates, "--templates"),
            max_skipped_share=max_skipped_share,
        )
        if wait:
            output.note(found.id)
            found = wait_for_dataset(client, output, found.id, timeout_s=timeout)
    output.result(found.to_json(), views.dataset(found) if wait else found.id, made=found.id)


@datasets.command("ls")
def list_datasets(
    context: typer.Context,
    *,
    kind: Annotated[
        str | None, typer.Option(help="pairs or labelled.", autocompletion=completion.kinds)
    ] = None,
    state: StateOption = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List datasets, newest first.

    Example: cleanclip datasets ls --kind labelled --state ready
    """
    with session_of(context).client() as client:
        page = client.datasets.list(kind=kind, state=state, limit=limit, after=after)
    Output(is_json=as_json).result(page.to_json(), views.datasets(page.data))


@datasets.command("show")
def show_dataset(context: typer.Context, dataset: DatasetId, as_json: JsonFlag = False) -> None:
    """Show what a dataset holds, or why it was rejected.

    Example: cleanclip datasets show ds_…
    """
    with session_of(context).client() as client:
        found = client.datasets.get(dataset)
    Output(is_json=as_json).result(found.to_json(), views.dataset(found))


@datasets.command("rename")
def rename_dataset(
    context: typer.Context, dataset: DatasetId, name: NameArgument, as_json: JsonFlag = False
) -> None:
    """Give a dataset another name.

    Example: cleanclip datasets rename ds_… "clean pairs, 2026-11"
    """
    with session_of(context).client() as client:
        found = client.datasets.rename(dataset, name or None)
    Output(is_json=as_json).result(found.to_json(), views.dataset(found))


@datasets.command("wait")
def wait_dataset(
    context: typer.Context, dataset: DatasetId, timeout: TimeoutOption = None, as_json: JsonFlag = False
) -> None:
    """Wait for a dataset's validation; a rejected one ends with status 3.

    Example: cleanclip datasets wait ds_…
    """
    output = Output(is_json=as_json)
    with session_of(context).client() as client:
        found = wait_for_dataset(client, output, dataset, timeout_s=timeout)
    output.result(found.to_json(), views.dataset(found))


@datasets.command("rm")
def remove_dataset(context: typer.Context, dataset: DatasetId, as_json: JsonFlag = False) -> None:
    """Delete a dataset and its uploaded shards; shards that it refers to elsewhere stay.

    Example: cleanclip datasets rm ds_…
    """
    with session_of(context).client() as client:
        found = client.datasets.delete(dataset)
    show_deletion(Output(is_json=as_json), dataset, found)
