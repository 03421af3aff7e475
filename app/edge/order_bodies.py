"""From the wire's order of a job to the use case's. Knows no request and no answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.domain.states import JobKind
from app.schemas.orders import (
    AuditDryRunIn,
    AuditJobIn,
    CleaningIn,
    SanitizeDryRunIn,
    SanitizeJobIn,
    ScanDryRunIn,
    ScanJobIn,
    VetDryRunIn,
    VetJobIn,
)
from app.services.orders import SCANS_FIRST, Order
from cleanclip.spec.found_attacks import BOTH_SUITES

_Judged = SanitizeJobIn | AuditJobIn | SanitizeDryRunIn | AuditDryRunIn
_Searching = ScanJobIn | ScanDryRunIn | VetJobIn | VetDryRunIn


def order_of(body: _Judged | _Searching, *, default_max_attempts: int) -> Order:
    """What is asked of the use case; `default_max_attempts` where the body leaves them to the service."""
    of_all: dict[str, Any] = {
        "kind": JobKind(body.kind),
        "name": body.name,
        "checkpoint_id": body.checkpoint_id,
        "seed": body.seed,
        "max_attempts": body.max_attempts or default_max_attempts,
        "metadata": dict(body.metadata),
    }
    if isinstance(body, ScanJobIn | ScanDryRunIn):
        return Order(
            **of_all,
            labelled_dataset_id=body.scan.dataset_id,
            anchor_checkpoint_id=body.scan.anchor_checkpoint_id,
            scan=body.scan.options(),
            null=body.scan.null,
        )
    if isinstance(body, VetJobIn | VetDryRunIn):
        return Order(
            **of_all,
            dataset_id=body.vet.dataset_id,
            trusted_dataset_id=body.vet.trusted_dataset_id,
            anchor_checkpoint_id=body.vet.anchor_checkpoint_id,
            vet=body.vet.options(),
        )
    cleaning = body if isinstance(body, CleaningIn) else None
    first = None if cleaning is None else cleaning.first_scan(body.audit)
    audit, beside = body.audit.options(), body.audit.attacks
    if first is not None:
        beside = beside or BOTH_SUITES
        audit = replace(audit, attacks=beside)
    return Order(
        **of_all,
        dataset_id=getattr(body, "dataset_id", None),
        labelled_dataset_id=body.audit.dataset_id,
        retrieval_dataset_id=body.audit.retrieval_dataset_id,
        exclude=body.exclude,
        recipe=None if cleaning is None else cleaning.recipe,
        recipe_given=None if cleaning is None else cleaning.recipe_given,
        audit=audit,
        attacks_from_scan=body.audit.attacks_from_scan,
        attacks_beside=beside,
        scan=None if first is None else first.options(),
        null="auto" if first is None else first.null,
        cautions=() if first is None else (SCANS_FIRST,),
        policy=body.policy,
        policy_name=body.policy_name,
        output_layout=None if cleaning is None else cleaning.output_layout,
    )
