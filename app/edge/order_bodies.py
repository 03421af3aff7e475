"""From the wire's order of a job to the use case's. Knows no request and no answer."""

from __future__ import annotations

from app.domain.states import JobKind
from app.schemas.jobs import AuditDryRunIn, AuditJobIn, CleaningIn, SanitizeDryRunIn, SanitizeJobIn
from app.services.orders import Order


def order_of(
    body: SanitizeJobIn | AuditJobIn | SanitizeDryRunIn | AuditDryRunIn, *, default_max_attempts: int
) -> Order:
    """What is asked of the use case; `default_max_attempts` where the body leaves them to the service."""
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
        policy=body.policy,
        policy_name=body.policy_name,
        seed=body.seed,
        output_layout=None if cleaning is None else cleaning.output_layout,
        max_attempts=body.max_attempts or default_max_attempts,
        metadata=dict(body.metadata),
    )
