"""The pages that order a scan or a vetting: what is read, dry run, and the order.

Options of detectors and scores are left to the API and the command: a null fits its own options only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.states import DatasetKind
from app.live.ports import Ports, PortsDep
from app.schemas.orders import OWN_BODIES, ScanJobIn
from app.services import jobs
from app.services.nulls import AUTO, NONE
from app.web.jobs import order_page
from app.web.jobs.options import parse_number
from app.web.jobs.order_page import Choices, OrderDraft, OrderPage
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, DatasetId, JobId
from app.web.kit.visitor import Form, Runner
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.scan_options import MIN_IMAGES, ScanOptions

Fields = Sequence[tuple[str, str]]
Kind = Literal["scan", "vet"]
_SCAN: TypeAdapter[ScanJobIn] = TypeAdapter(ScanJobIn)
_VET: TypeAdapter[Any] = TypeAdapter(OWN_BODIES["vet"])
_FURTHER = "scan/further_classes"

router = APIRouter()


def _read(
    form: Form, ports: Ports, kind: Kind, adapter: TypeAdapter[Any], *, options: Mapping[str, Any]
) -> OrderDraft:
    """Everything that is wrong with it is in `errors`; then there is no order."""
    body: dict[str, Any] = {"kind": kind, kind: dict(options)} | order_page.name_and_seed(form)
    for one in KINDS[kind].inputs:
        *part, name = one.place
        (body[part[0]] if part else body).update(order_page.named(form, "/".join(one.place), name))
    made = OrderDraft(form=form, body=body)
    made.take(adapter, default_max_attempts=ports.settings.jobs.max_attempts)
    return made


def _ids_of(job: Job, kind: str) -> Fields:
    """What an earlier job read, as fields of the form of that kind."""
    return [("/".join(one.place), getattr(job, one.column) or "") for one in KINDS[kind].inputs]


def _seed_of(job: Job, kind: str) -> tuple[str, str]:
    """Of an earlier job of that kind; empty of another, for a new one to be drawn."""
    return "seed", str(job.seed) if job.kind == kind else ""


def _take_orders(
    page: OrderPage, kind: Kind, *, fields_of: Callable[[Job], Fields], more: Fields = ()
) -> None:
    """Adds the page's routes. `fields_of` makes a form of an earlier order; `more` fields of an empty one are
    filled in."""

    @router.get(page.path.removeprefix("/ui"))
    def show_form(
        *,
        request: Request,
        visitor: Runner,
        ports: PortsDep,
        checkpoint: Annotated[CheckpointId | None, EMPTY_IS_NONE] = None,
        dataset: Annotated[DatasetId | None, EMPTY_IS_NONE] = None,
        again: Annotated[JobId | None, EMPTY_IS_NONE] = None,
        form: order_page.Name = None,
    ) -> Response:
        """Empty, or filled with what the address names."""

        def filled(unit: UnitOfWork) -> Form:
            if again:
                return Form([*fields_of(jobs.get(unit, visitor.caller.project_id, again))])
            given = [("checkpoint_id", checkpoint or ""), (f"{kind}/dataset_id", dataset or "")]
            return Form([*given, *more])

        named = {"checkpoint": checkpoint, "dataset": dataset, "again": again}
        return page.show(request, visitor, ports, filled, form=form, **named)

    page.take_orders(router)


def _fields_of_scan(job: Job) -> Fields:
    """The order of an earlier scan as a form; of another job, what it shares with a scan."""
    scan = job.spec.get("scan") or {}
    null = job.spec.get("null")
    return [
        *_ids_of(job, "scan"),
        ("scan/null", null["name"] if null else NONE if "null" in job.spec else AUTO),
        (_FURTHER, "\n".join(scan.get("further_classes") or ())),
        _seed_of(job, "scan"),
    ]


def _read_scan(form: Form, ports: Ports, project_id: str) -> OrderDraft:
    """An anchor adds the detector that it is for."""
    del project_id
    options: dict[str, Any] = {"null": form.get("scan/null") or AUTO}
    has_anchor = bool(order_page.named(form, "scan/anchor_checkpoint_id"))
    options["detectors"] = ScanOptions.usual_detectors(has_anchor=has_anchor)
    if names := order_page.lines(form.get(_FURTHER)):
        options["further_classes"] = names
    return _read(form, ports, "scan", _SCAN, options=options)


def _choices_of_scan(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    del form
    return Choices(
        checkpoints=order_page.accepted_checkpoints(unit, project_id),
        labelled=order_page.ready_datasets(unit, project_id, DatasetKind.LABELLED),
        nulls=unit.nulls.page(None, order_page.MOST_CHOICES)[0],
    )


def _fields_of_vetting(job: Job) -> Fields:
    """The order of an earlier vetting as a form; of another job, what it shares with one."""
    vet = job.spec.get("vet") or {}
    ids = dict(_ids_of(job, "vet"))
    return [
        *(ids | {"vet/dataset_id": ids["vet/dataset_id"] or job.labelled_dataset_id or ""}).items(),
        ("vet/share", f"{vet['share']:g}" if "share" in vet else ""),
        _seed_of(job, "vet"),
    ]


def _read_vetting(form: Form, ports: Ports, project_id: str) -> OrderDraft:
    del project_id
    share = form.get("vet/share")
    options = {"share": parse_number(share)} if share else {}
    return _read(form, ports, "vet", _VET, options=options)


def _choices_of_vetting(unit: UnitOfWork, project_id: str, form: Form) -> Choices:
    del form
    return Choices(
        checkpoints=order_page.accepted_checkpoints(unit, project_id),
        labelled=order_page.ready_datasets(unit, project_id, DatasetKind.LABELLED),
        pairs=order_page.ready_datasets(unit, project_id, DatasetKind.PAIRS),
    )


_take_orders(
    OrderPage(
        path="/ui/scans/new",
        template="new_scan.html",
        read=_read_scan,
        choices=_choices_of_scan,
        shown={"least_images": 2 * MIN_IMAGES},
    ),
    "scan",
    fields_of=_fields_of_scan,
    more=[("scan/null", AUTO)],
)
_take_orders(
    OrderPage(
        path="/ui/vettings/new", template="new_vet.html", read=_read_vetting, choices=_choices_of_vetting
    ),
    "vet",
    fields_of=_fields_of_vetting,
)
