"""Orders of kinds that read one dataset with the model: the dataset, and options as JSON."""

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from cleanclip.command import completion, values
from cleanclip.command.checkpoint_order import AnchorOption, JobOrder
from cleanclip.command.commands import command_of
from cleanclip.command.steps import Order, named
from cleanclip.kinds.kind import SUSPECT, Input, Kind


@dataclass(frozen=True, kw_only=True)
class PlainOrder(JobOrder):
    """An order of the kind of job `ordered`."""

    ordered: ClassVar[Kind]
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="DATASET|URI",
            help="The image-caption pairs to read: an id, or s3://….",
            autocompletion=completion.pairs,
        ),
    ] = None
    labelled: Annotated[
        str | None,
        typer.Option(
            "--labelled",
            metavar="DATASET|URI",
            help="Instead of --pairs: the labelled images to read.",
            autocompletion=completion.labelled,
        ),
    ] = None
    options: Annotated[
        Path | None,
        typer.Option("--options", metavar="FILE", help="Options as JSON; other options override it."),
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        if (self.pairs is None) == (self.labelled is None):
            raise typer.BadParameter("Give --pairs or --labelled: the dataset to read.")
        kind = "labelled" if self.pairs is None else "pairs"
        return Order(
            body={"kind": self.ordered.name, self.ordered.option_part: self.part(), **self.about()},
            **self.subject(),
            data=named(
                read=(self.pairs or self.labelled, kind),
                **{
                    one.name: (getattr(self, one.name), kind)
                    for one in further(self.ordered)
                    if not one.folder
                },
            ),
        )

    def part(self) -> dict[str, Any]:
        """The kind's own field of a job, but for its datasets."""
        options = {} if self.options is None else values.json_object(self.options, "--options")
        given = {one.place[-1]: getattr(self, one.name) for one in further(self.ordered) if one.folder}
        return options | {name: value for name, value in given.items() if value is not None}


def further(kind: Kind) -> list[Input]:
    """What it reads beside the checkpoint and the dataset that the order is about."""
    main = next(one for one in kind.inputs if one.folder is None)
    return [one for one in kind.inputs if one not in (SUSPECT, main)]


def command_for(kind: Kind) -> Callable[..., None]:
    """The command that orders it, with an option for each further input."""
    order = make_dataclass(
        "_Order",
        [(one.name, _option(one), field(default=None)) for one in further(kind)],
        bases=(PlainOrder,),
        namespace={"__doc__": f"{kind.about}\n\n{_example(kind)}", "ordered": kind},
        frozen=True,
        kw_only=True,
    )
    return command_of(order, kind.command)


def _example(kind: Kind) -> str:
    main = next(one for one in kind.inputs if one.folder is None)
    data = next(iter(main.roles))
    return f"Example: cleanclip {kind.command} --checkpoint ckpt_… --{data} ds_… --wait"


def _option(one: Input) -> Any:
    if one.folder is not None:
        return AnchorOption
    return Annotated[str | None, typer.Option(f"--{one.name}", metavar="DATASET|URI", help=one.about)]
