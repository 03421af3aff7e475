"""What the commands that order jobs share: the checkpoint, the labelled set, and what follows the order."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import completion, journey, values
from cleanclip.command.gate import AllowFlag, FailOnOption, Gate, UncheckedFlag, gate_of
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, NameOption, TimeoutOption, WaitFlag, session_of
from cleanclip.command.steps import Order

AnchorOption = Annotated[
    str | None,
    typer.Option(
        "--anchor",
        metavar="CHECKPOINT",
        help="Id of an accepted checkpoint that you trust, from another source.",
        autocompletion=completion.checkpoints,
    ),
]


@dataclass(frozen=True, kw_only=True)
class JobOrder:
    """An order about one checkpoint."""

    file: Annotated[
        str | None,
        typer.Argument(
            callback=values.file_or_source,
            metavar="FILE|SOURCE",
            help="A checkpoint file to upload first, or what the service fetches first: "
            "hf://OWNER/NAME@REVISION[/PATH], https://HOST/PATH, s3://BUCKET/KEY. When interrupted or "
            "repeated, the command continues where it stopped.",
        ),
    ] = None
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            metavar="CHECKPOINT",
            help="Id of an accepted checkpoint, instead of FILE or SOURCE.",
            autocompletion=completion.checkpoints,
        ),
    ] = None
    declared: Annotated[
        list[str] | None,
        typer.Option(
            "--declared",
            metavar="NAME=VALUE",
            help="With FILE or SOURCE: what its tensors do not say. Default for a job's model.safetensors: "
            "the config.json beside it.",
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**31 - 1, help="Seed of every random draw; the same seed repeats the job."
        ),
    ] = None
    name: NameOption = None
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=VALUE", help="A note on the job; repeatable."),
    ] = None
    wait: WaitFlag = False
    timeout: TimeoutOption = None
    download: Annotated[
        Path | None,
        typer.Option(
            "--download", metavar="DIR", help="Wait, download all files into this folder and verify them."
        ),
    ] = None
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="PUB.pem", help="With --download: a public key that you trust."),
    ] = None
    again: Annotated[
        bool, typer.Option("--again", help="Upload, register and order again what an earlier run did.")
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Send and order nothing. Print what the job would do, how long earlier jobs took, "
            "and what would be refused.",
        ),
    ] = False
    as_json: JsonFlag = False

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        raise NotImplementedError

    def subject(self) -> dict[str, Any]:
        """The fields of an order that say which checkpoint it is about."""
        is_source = self.file is not None and values.is_source(self.file)
        file = None if self.file is None or is_source else Path(self.file)
        return {
            "file": file,
            "source": self.file if is_source else None,
            "checkpoint": self.checkpoint,
            "declared": values.declared(self.declared, file),
        }

    def gate(self) -> Gate:
        """What decides the exit status besides the job's state."""
        return gate_of(None, allow_inconclusive=False)

    def about(self) -> dict[str, Any]:
        """The fields of a body that every kind of job has."""
        return {
            "seed": self.seed,
            "name": self.name,
            "metadata": values.text_pairs(self.metadata or [], "--metadata") or None,
        }

    def carry_out(self, context: typer.Context) -> None:
        ending = journey.Ending(
            wait=self.wait,
            timeout_s=self.timeout,
            folder=self.download,
            keys=self.key or [],
            gate=self.gate(),
        )
        output = Output(is_json=self.as_json)
        session = session_of(context)
        journey.carry_out(session, output, self.order(), ending, is_again=self.again, is_dry_run=self.dry_run)


@dataclass(frozen=True, kw_only=True)
class CheckpointOrder(JobOrder):
    """An order that measures on labelled images, and ends with a verdict."""

    labelled: Annotated[
        str,
        typer.Option(
            "--labelled",
            metavar="DATASET|URI",
            help="The labelled set to measure on: its id, or s3://…, which is registered if necessary.",
            autocompletion=completion.labelled,
        ),
    ]
    fail_on: FailOnOption = None
    allow_inconclusive: AllowFlag = False
    allow_unchecked: UncheckedFlag = False

    def gate(self) -> Gate:
        return gate_of(
            self.fail_on,
            allow_inconclusive=self.allow_inconclusive,
            allow_unchecked=self.allow_unchecked,
        )
