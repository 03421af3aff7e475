"""What is refused of an order's anchor, as far as rows tell: with the codes of a failed job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.db.models.checkpoint import Checkpoint
from app.domain.errors import InvalidInput
from app.services.orders import ANCHOR, SUSPECT, Order
from cleanclip.spec.anchors import Model, of_anchor, of_options
from cleanclip.spec.errors import OptionsRejected


def refusals(order: Order, checkpoints: Mapping[str, Checkpoint]) -> Iterator[InvalidInput]:
    """`checkpoints` by their columns: of a dry run those that are known."""
    has_anchor = ANCHOR in order.ids
    if order.scan is not None:
        for error in of_options(order.scan, has_anchor=has_anchor):
            yield _refusal(error, order.pointer(ANCHOR) if has_anchor else "/scan/detectors")
    if SUSPECT in checkpoints and ANCHOR in checkpoints:
        for error in of_anchor(_model(checkpoints[SUSPECT]), _model(checkpoints[ANCHOR])):
            yield _refusal(error, order.pointer(ANCHOR))


def _refusal(error: OptionsRejected, pointer: str) -> InvalidInput:
    return InvalidInput(error.code, error.message, error.remedy, pointer)


def _model(checkpoint: Checkpoint) -> Model:
    config = (checkpoint.inspection or {}).get("architecture") or {}
    return Model(weights_sha256=checkpoint.weights_sha256, config=config)
