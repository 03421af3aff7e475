"""From the wire's order of a job to the use case's. Knows no request and no answer."""

from __future__ import annotations

from app.domain.states import JobKind
from app.schemas.orders import (
    AuditDryRunIn,
    AuditJobIn,
    CleaningIn,
    SanitizeDryRunIn,
    SanitizeJobIn,
    ScanDryRunIn,
    ScanJobIn,
)
from app.services.orders import Order

_Judged = SanitizeJobIn | AuditJobIn | SanitizeDryRunIn | AuditDryRunIn


def order_of(body: _Judged | ScanJobIn | ScanDryRunIn, *, default_max_attempts: int) -> Order:
    """What is asked of the use case; `default_max_attempts` where the body leaves them to the service."""
    if isinstance(body, ScanJobIn | ScanDryRunIn):
        return Order(
            kind=JobKind.SCAN,
            name=body.name,
            checkpoint_id=body.checkpoint_id,
            labelled_dataset_id=body.scan.dataset_id,
            scan=body.scan.options(),
            null=body.scan.null,
            seed=body.seed,
            max_attempts=body.max_attempts or default_max_attempts,
            metadata=dict(body.metadata),
        )
    cleaning = body if isinstance(body, CleaningIn) else None
    return Order(
        kind=JobKind(body.kind),
        name=body.name,
        checkpoint_id=body.checkpoint_id,
        dataset_id=getattr(body, "dataset_id", None),
        labelled_dataset_id=body.audit.dataset_id,
        retrieval_dataset_id=body.audit.retrieval_dataset_id,
        recipe=None if cleaning is None else cleaning.recipe,
        recipe_given=None if cleaning is None else cleaning.recipe_given,
        audit=body.audit.options(),
        attacks_from_scan=body.audit.attacks_from_scan,
        attacks_beside=body.audit.attacks,
        policy=body.policy,
        policy_name=body.policy_name,
        seed=body.seed,
        output_layout=None if cleaning is None else cleaning.output_layout,
        max_attempts=body.max_attempts or default_max_attempts,
        metadata=dict(body.metadata),
    )
