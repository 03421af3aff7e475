"""`vet`: which samples of a dataset look poisoned?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import completion, values
from cleanclip.command.checkpoint_order import AnchorOption, JobOrder
from cleanclip.command.commands import command_of
from cleanclip.command.steps import Order, named


@dataclass(frozen=True, kw_only=True)
class VetOrder(JobOrder):
    """Find the samples of a dataset that look poisoned, with the model that it trained or is to clean. Prints
    the job's id; with --wait or --download the whole job, unless --quiet.

    The worst share is set aside in a list, which `sanitize --exclude JOB` and `audit --exclude JOB` leave
    out. With trusted samples each has a p-value; without, the samples are ranked.

    Example: cleanclip vet clip.pt --pairs s3://data/pairs/ --trusted s3://data/good/ --wait

    Example: cleanclip vet --checkpoint ckpt_… --labelled ds_… --anchor ckpt_… --share 0.02 --download vetted
    """

    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="DATASET|URI",
            help="The image-caption pairs to vet: an id, or s3://….",
            autocompletion=completion.pairs,
        ),
    ] = None
    labelled: Annotated[
        str | None,
        typer.Option(
            "--labelled",
            metavar="DATASET|URI",
            help="Instead of --pairs: the labelled images to vet.",
            autocompletion=completion.labelled,
        ),
    ] = None
    trusted: Annotated[
        str | None,
        typer.Option(
            "--trusted",
            metavar="DATASET|URI",
            help="Samples of the same kind that you trust: an id, or s3://….",
        ),
    ] = None
    anchor: AnchorOption = None
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            max=0.5,
            callback=values.above_zero,
            help="Share of the samples to set aside, above 0. Default: 0.05.",
        ),
    ] = None
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="NAME", help="A score to compute, in place of all; repeatable."),
    ] = None
    options: Annotated[
        Path | None,
        typer.Option("--options", metavar="FILE", help="Vet options as JSON; other options override it."),
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        if (self.pairs is None) == (self.labelled is None):
            raise typer.BadParameter("Give --pairs or --labelled: the dataset to vet.")
        kind = "labelled" if self.pairs is None else "pairs"
        return Order(
            body={"kind": "vet", "vet": self._vet(), **self.about()},
            **self.subject(),
            data=named(vetted=(self.pairs or self.labelled, kind), trusted=(self.trusted, kind)),
        )

    def _vet(self) -> dict[str, Any]:
        """The field `vet` of a job, but for its datasets."""
        options = {} if self.options is None else values.json_object(self.options, "--options")
        given = {"share": self.share, "scores": self.score or None, "anchor_checkpoint_id": self.anchor}
        return options | {name: value for name, value in given.items() if value is not None}


vet = command_of(VetOrder, "vet")
