"""Orders of kinds that read one dataset with the model: the dataset, and options as JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from cleanclip.command import completion, values
from cleanclip.command.checkpoint_order import JobOrder
from cleanclip.command.commands import command_of
from cleanclip.command.steps import Named, Order, named
from cleanclip.kinds.kind import Kind


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
            data=named(read=(self.pairs or self.labelled, kind)) | self.further(kind),
        )

    def part(self) -> dict[str, Any]:
        """The kind's own field of a job, but for its datasets."""
        return {} if self.options is None else values.json_object(self.options, "--options")

    def further(self, kind: str) -> dict[str, Named]:
        """Datasets that are read besides; `kind`: of the one that the order is about."""
        del kind
        return {}


def command_for(kind: Kind) -> Callable[..., None]:
    """The command that orders it."""
    order = type("_Order", (PlainOrder,), {"__doc__": kind.about, "ordered": kind, "__annotations__": {}})
    return command_of(order, kind.name)
