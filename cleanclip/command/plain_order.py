"""Orders of kinds that read one dataset with the model: the dataset, and options as JSON."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from cleanclip.command import completion, values
from cleanclip.command.checkpoint_order import AnchorOption, JobOrder
from cleanclip.command.commands import command_of
from cleanclip.command.steps import Order, named
from cleanclip.kinds.kind import DATA_TITLES, SUSPECT, Input, Kind


@dataclass(frozen=True, kw_only=True)
class PlainOrder(JobOrder):
    """An order of the kind of job `ordered`."""

    ordered: ClassVar[Kind]
    options: Annotated[
        Path | None,
        typer.Option("--options", metavar="FILE", help="Options as JSON; other options override it."),
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        data = {kind: its_id for kind in main(self.ordered).roles if (its_id := getattr(self, kind))}
        if len(data) != 1:
            options = " or ".join(f"--{kind}" for kind in main(self.ordered).roles)
            raise typer.BadParameter(f"Give {options}: the dataset to read.")
        ((kind, its_id),) = data.items()
        return Order(
            body={"kind": self.ordered.name, self.ordered.option_part: self.part(), **self.about()},
            **self.subject(),
            data=named(
                read=(its_id, kind),
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


def main(kind: Kind) -> Input:
    """The dataset that the order is about."""
    return next(one for one in kind.inputs if one.folder is None)


def further(kind: Kind) -> list[Input]:
    """What it reads beside the checkpoint and that dataset."""
    return [one for one in kind.inputs if one not in (SUSPECT, main(kind))]


def command_for(kind: Kind, order: type[PlainOrder] = PlainOrder) -> Callable[..., None]:
    """The command that orders it: the options of `order`, and one for each input."""
    whole = make_dataclass(
        "_Order",
        [*_data(main(kind)), *((one.name, _option(one), field(default=None)) for one in further(kind))],
        bases=(order,),
        namespace={
            "__doc__": f"{kind.about}\n\n{_example(kind)}" if order is PlainOrder else order.__doc__,
            "ordered": kind,
        },
        frozen=True,
        kw_only=True,
    )
    return command_of(whole, kind.command)


def _data(one: Input) -> Iterator[tuple[str, Any, Any]]:
    """An option for each kind that the dataset may have."""
    first, *_ = one.roles
    for kind in one.roles:
        title = DATA_TITLES[kind].lower()
        text = (
            f"The {title} to read: an id, or s3://…." if kind == first else f"Instead of --{first}: {title}."
        )
        option = typer.Option(
            f"--{kind}", metavar="DATASET|URI", help=text, autocompletion=getattr(completion, kind)
        )
        yield kind, Annotated[str | None, option], field(default=None)


def _example(kind: Kind) -> str:
    data = next(iter(main(kind).roles))
    return f"Example: cleanclip {kind.command} --checkpoint ckpt_… --{data} ds_… --wait"


def _option(one: Input) -> Any:
    if one.folder is not None:
        return AnchorOption
    return Annotated[str | None, typer.Option(f"--{one.name}", metavar="DATASET|URI", help=one.about)]
