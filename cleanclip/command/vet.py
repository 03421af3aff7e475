"""`vet`: which samples of a dataset look poisoned?"""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cleanclip.command.option_fields import option_of
from cleanclip.command.plain_order import PlainOrder, command_for
from cleanclip.kinds.vet import VET
from cleanclip.vocabulary.vet_options import VetOptions


@dataclass(frozen=True, kw_only=True)
class VetOrder(PlainOrder):
    """Find the samples of a dataset that look poisoned, with the model that it trained or is to clean. Prints
    the job's id; with --wait or --download the whole job, unless --quiet.

    The worst share is set aside in a list, which `sanitize --exclude JOB` and `audit --exclude JOB` leave
    out. With trusted samples each has a p-value; without, the samples are ranked.

    Example: cleanclip vet clip.pt --pairs s3://data/pairs/ --trusted s3://data/good/ --wait

    Example: cleanclip vet --checkpoint ckpt_… --labelled ds_… --anchor ckpt_… --share 0.02 --download vetted
    """

    share: Annotated[float | None, option_of(VetOptions, "share")] = None
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="NAME", help="A score to compute, in place of all; repeatable."),
    ] = None

    def part(self) -> dict[str, Any]:
        given = {"share": self.share, "scores": self.score or None}
        return super().part() | {name: value for name, value in given.items() if value is not None}


vet = command_for(VET, VetOrder)
