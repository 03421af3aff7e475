"""The triggers that a finished scan found, as attacks of an order. They are taken when it is ordered: the job
keeps them as they stand, so nothing depends on the scan's files later.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic import ValidationError

from app.db.models.job import Job
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, DomainError, InvalidInput
from app.services import artifacts, jobs
from app.services.api_keys import Caller
from app.services.orders import LABELLED, SUSPECT, Order, class_names, naming
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.found_attacks import audit_with, check_scan_of, fitting, section_of
from cleanclip.vocabulary.scan_report import ScanReport, load_scan

POINTER = "/audit/attacks_from_scan"
MAX_REPORT_BYTES = 8 * 2**20
"""Workers publish no larger one."""


def with_found(database: Database, store: ObjectStore, caller: Caller, order: Order) -> Order:
    """The order with the attacks of the scan that it names. Reads the store, in no transaction.

    Raises NotFound (`job_not_found`, `report_not_found`), Conflict (`job_not_finished`, `scan_unreadable`),
    InvalidInput (`job_is_no_scan`, `scan_of_another_model`, `scan_found_no_attack`, `scan_found_no_target`)
    and StorageError.
    """
    if order.attacks_from_scan is None or order.audit is None:
        return order
    with naming(POINTER):
        with database.unit_of_work(caller.project_id) as unit:
            key = _report_key(unit, caller, order.attacks_from_scan)
            weights = _weights(unit, caller, order)
            known = _known_classes(unit, caller, order)
        report, digest = _read(store, key)
        if weights is not None:
            check_scan_of(weights, report.checkpoint.weights_sha256)
        taken = fitting(report.attacks(), order.attacks_beside, known)
        if not taken:
            raise _nothing_to_take(report)
        with naming("/audit/target"):
            audit = audit_with(order.audit, order.attacks_beside, report, known)
    return replace(
        order.with_part("audit", audit),
        scan_section=section_of(
            report,
            report_sha256=digest,
            attacks=audit.attacks,
            num_known=len(order.attacks_beside),
            scan_id=order.attacks_from_scan,
        ),
        cautions=tuple(_left_out(report, taken)),
    )


def with_found_or_refusal(
    database: Database, store: ObjectStore, caller: Caller, order: Order
) -> tuple[Order, Sequence[DomainError]]:
    """For a dry run, which tells of what would be refused: then the order is as it was."""
    try:
        return with_found(database, store, caller, order), ()
    except DomainError as error:
        return order, (error,)


def _report_key(unit: UnitOfWork, caller: Caller, scan_id: str) -> str:
    job = jobs.get(unit, caller.project_id, scan_id)
    _check_is_scan(job)
    return artifacts.report_of(unit, job).object_key


def _check_is_scan(job: Job) -> None:
    if not KINDS[job.kind].finds_triggers:
        raise InvalidInput(
            "job_is_no_scan", f"The job {job.id} is of kind {job.kind.value}.", "Name a job of kind scan."
        )


def _weights(unit: UnitOfWork, caller: Caller, order: Order) -> str | None:
    """None in a dry run of a checkpoint that is not there yet."""
    if SUSPECT not in order.ids:
        return None
    with naming(order.pointer(SUSPECT)):
        return unit.checkpoints.get(caller.project_id, order.ids[SUSPECT]).weights_sha256


def _known_classes(unit: UnitOfWork, caller: Caller, order: Order) -> Sequence[str] | None:
    """The targets that the audit can measure. A scan may have looked for further ones."""
    if LABELLED not in order.ids:
        return None
    with naming(order.pointer(LABELLED)):
        return class_names(unit.datasets.get(caller.project_id, order.ids[LABELLED]))


def _read(store: ObjectStore, key: str) -> tuple[ScanReport, str]:
    """And the SHA-256 of its bytes."""
    content = store.read_bytes(key, max_bytes=MAX_REPORT_BYTES)
    try:
        return load_scan(content), hashlib.sha256(content).hexdigest()
    except ValidationError as error:
        raise Conflict(
            "scan_unreadable", "This version cannot read the scan's report.", "Scan the checkpoint again."
        ) from error


def _nothing_to_take(report: ScanReport) -> InvalidInput:
    if not report.attacks():
        return InvalidInput(
            "scan_found_no_attack",
            "The scan found no trigger that an image can hold: there is nothing to audit with.",
            "Name triggers with `attacks` or `suite`, and leave attacks_from_scan out.",
        )
    return InvalidInput(
        "scan_found_no_attack",
        "No trigger that the scan found can be taken: they lead to classes that the labelled dataset does "
        "not have, or the order has them already.",
        "Use a labelled dataset with these classes, or leave attacks_from_scan out.",
    )


def _left_out(report: ScanReport, taken: Sequence[AttackOptions]) -> Iterable[str]:
    num_found = len(report.hypotheses)
    if len(taken) < num_found:
        yield (
            f"Of the {num_found} triggers that the scan found the audit takes {len(taken)}: the others "
            "lead to classes that the labelled dataset does not have, cannot be held by an image, or are "
            "more than one audit takes."
        )
