"""`scan` and `nulls`: is there a trigger that nobody named, and by what is that judged?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import values
from cleanclip.command.checkpoint_order import AnchorOption, CheckpointOrder
from cleanclip.command.commands import Commands, command_of
from cleanclip.command.formats import fields, table, when
from cleanclip.command.listing import AfterOption, LimitOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.command.steps import Order, named
from cleanclip.errors import Unreadable
from cleanclip.models import Null
from cleanclip.sync.client import Client
from cleanclip.vocabulary.scan_options import ScanOptions

_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class ScanOrder(CheckpointOrder):
    """Look for a trigger that nobody named. Prints the job's id; with --wait or --download the whole
    job, unless --quiet.

    With FILE and an address of data it does every step, like `sanitize`. The scan is judged by a null: what
    models that were never poisoned measured. Where no null fits there is no p-value, and the outcome is
    inconclusive. It is never "clean".

    Example: cleanclip scan clip.pt --labelled s3://data/test/ --wait

    Example: cleanclip scan --checkpoint ckpt_… --labelled ds_… --classes more.txt --null vit-b-32 --wait

    Example: cleanclip scan clip.pt --labelled ds_… --anchor ckpt_… --wait
    """

    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="Further class names that a trigger may lead to, one a line; no image needs to have them.",
        ),
    ] = None
    null: Annotated[
        str | None,
        typer.Option(
            "--null",
            metavar="NAME|auto|none",
            help="The null to be judged by (see `cleanclip nulls ls`). Default: auto, the best that fits.",
        ),
    ] = None
    anchor: AnchorOption = None
    options: Annotated[
        Path | None,
        typer.Option("--options", metavar="FILE", help="Scan options as JSON; other options override it."),
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        return Order(
            body={"kind": "scan", "scan": self._scan(), **self.about()},
            **self.subject(),
            data=named(labelled=(self.labelled, "labelled")),
        )

    def _scan(self) -> dict[str, Any]:
        """The field `scan` of a job, but for its dataset. An anchor adds the detector that it is for,
        unless --options names detectors."""
        options: dict[str, Any] = {}
        if self.anchor is not None:
            options["detectors"] = list(ScanOptions.usual_detectors(has_anchor=True))
        if self.options is not None:
            options |= values.json_object(self.options, "--options")
        if self.classes is not None:
            options["further_classes"] = _lines(self.classes)
        given = {"null": self.null, "anchor_checkpoint_id": self.anchor}
        return options | {name: value for name, value in given.items() if value is not None}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read as UTF-8 text: {error}.") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise typer.BadParameter(f"{path} holds no name.", param_hint="--classes")
    return names


scan = command_of(ScanOrder, "scan")
nulls = Commands(
    no_args_is_help=True, help="Nulls that scans are judged by; the service's operators add them."
)


@nulls.command("ls")
def list_nulls(
    context: typer.Context, *, limit: LimitOption = 20, after: AfterOption = None, as_json: JsonFlag = False
) -> None:
    """List nulls, newest first.

    Example: cleanclip nulls ls
    """
    with session_of(context).client() as client:
        page = client.nulls.list(limit=limit, after=after)
    rows = [
        (one.id, one.name, one.num_models, f"{one.smallest_p:.3g}", one.num_classes, when(one.created_at))
        for one in page.data
    ]
    text = table(("ID", "NAME", "MODELS", "SMALLEST P", "CLASSES", "ADDED"), rows)
    Output(is_json=as_json).result(page.to_json(), text)


@nulls.command("show")
def show_null(
    context: typer.Context,
    null: Annotated[str, typer.Argument(metavar="NULL", help="Its name or its id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show what a null is of.

    Example: cleanclip nulls show vit-b-32
    """
    with session_of(context).client() as client:
        found = client.nulls.get(_id_of(client, null))
    Output(is_json=as_json).result(found.to_json(), _text(found))


def _id_of(client: Client, null: str) -> str:
    """Of the null with that name; where none has it, it is an id."""
    after, has_more = None, True
    while has_more:
        page = client.nulls.list(limit=_PAGE, after=after)
        for one in page.data:
            if one.name == null:
                return one.id
        after, has_more = page.last_id, page.has_more
    return null


def _text(row: Null) -> str:
    return fields(
        [
            ("id", row.id),
            ("name", row.name),
            ("about", row.about),
            ("models", row.num_models),
            ("fine-tunes of", row.fine_tunes_of),
            ("smallest p", f"{row.smallest_p:.4g}"),
            ("classes", f"{row.num_classes} ({row.class_names_sha256})"),
            ("images", row.images_sha256),
            ("detectors", ", ".join((row.options or {}).get("detectors") or ())),
            ("seed", row.seed),
            ("anchor", row.anchor_sha256),
            ("sha256", row.sha256),
            ("signed by the key", row.signing_key_sha256),
            ("built", when(row.built_at)),
            ("added", when(row.created_at)),
        ]
    )
