"""What is refused of an order's anchor and base, as far as rows tell: with the codes of a failed job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.db.models.checkpoint import Checkpoint
from app.domain.errors import InvalidInput
from app.services.orders import SUSPECT, Order
from cleanclip.spec.errors import OptionsRejected
from cleanclip.spec.trusted_models import Model, of_anchor, of_base, of_options


def refusals(order: Order, checkpoints: Mapping[str, Checkpoint]) -> Iterator[InvalidInput]:
    """`checkpoints` by their pointers: of a dry run those that are known."""
    pointer_of = {"scan.anchor": order.anchor_pointer, "scan.base": order.base_pointer}
    has_anchor, has_base = (one is not None for one in (order.anchor_checkpoint_id, order.base_checkpoint_id))
    if order.scan is not None:
        for error in of_options(order.scan, has_anchor=has_anchor, has_base=has_base):
            yield _refusal(error, pointer_of.get(error.where or "", "/scan/detectors"))
    models = {pointer: _model(row) for pointer, row in checkpoints.items()}
    for pointer, check in ((order.anchor_pointer, of_anchor), (order.base_pointer, of_base)):
        if SUSPECT in models and pointer in models:
            for error in check(models[SUSPECT], models[pointer]):
                yield _refusal(error, pointer)


def _refusal(error: OptionsRejected, pointer: str) -> InvalidInput:
    return InvalidInput(error.code, error.message, error.remedy, pointer)


def _model(checkpoint: Checkpoint) -> Model:
    config = (checkpoint.inspection or {}).get("architecture") or {}
    return Model(weights_sha256=checkpoint.weights_sha256, config=config)
