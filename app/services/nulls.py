"""Nulls: operators add them; a scan is judged by one that fits it in all that its figures depend on.

Which one is decided when the scan is ordered and kept in the job: a null that is added later changes no
order. Of a null the row has all but its models (`facts`), which is enough to compare.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from app.db.models.assets import Checkpoint, Dataset
from app.db.models.assets import NullSet as Row
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput
from app.domain.ids import new_id
from app.domain.object_keys import null_key
from app.domain.shown_texts import is_fit_to_show
from app.services.orders import ANCHOR, SUSPECT, Order, class_names, naming
from app.storage.port import ObjectStore
from cleanclip.kinds.scan import scanned_names
from cleanclip.vocabulary import null_set
from cleanclip.vocabulary.errors import OptionsRejected

AUTO, NONE = "auto", "none"
POINTER = "/scan/null"
_WEIGHTS = "weights_sha256"
"""Of the facts: the digests of its models."""
_ADAPTER: TypeAdapter[null_set.NullSet] = TypeAdapter(null_set.NullSet)
NOT_CALIBRATED = (
    "No null with this architecture, class list, image set, options, seed and anchor is used: the "
    "scan gives ranks and no p-value, so it cannot fail."
)


def add(
    database: Database,
    store: ObjectStore,
    data: bytes,
    *,
    account: str,
    signing_key_sha256: str | None = None,
) -> Row:
    """Check a null's file and keep it. Its bytes are stored before its row: no row names what is not there.

    `signing_key_sha256` is the id of the key whose signature of the file the caller checked.

    Raises InvalidInput (`null_name_invalid`, and what `load_null` refuses), Conflict
    (`null_exists`), StorageError.
    """
    with naming("/null"):
        null = null_set.load_null(data)
    if null.name in {AUTO, NONE} or not is_fit_to_show(null.name):
        raise InvalidInput(
            "null_name_invalid",
            "The name in the file cannot be shown, or is one of the words auto and none.",
            "Build the null again with another name.",
        )
    content = null_set.dump_null(null)
    row = Row(
        id=new_id("null"),
        name=null.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        num_models=len(null.counted),
        facts=facts_of(null),
        added_by=account,
        signing_key_sha256=signing_key_sha256,
    )
    row.object_key = null_key(row.id)
    with database.unit_of_work() as unit:
        if (earlier := unit.nulls.find(null.name)) is not None:
            raise Conflict(
                "null_exists",
                f"There is a null '{null.name[:64]}' already ({earlier.id}).",
                "Build the null again with another name.",
            )
        store.put_bytes(row.object_key, content, content_type="application/json")
        return unit.nulls.add(row)


def remove(database: Database, store: ObjectStore, null_id: str) -> None:
    """No scan is judged by it any more. Finished scans have its file among theirs; one that waits fails.

    Raises NotFound, StorageError.
    """
    with database.unit_of_work() as unit:
        row = unit.nulls.get(null_id)
        unit.nulls.remove(row)
    store.delete(null_key(null_id))


def facts_of(null: null_set.NullSet) -> dict[str, Any]:
    """All of it but its models' statistics, as JSON."""
    document: dict[str, Any] = _ADAPTER.dump_python(null, mode="json", exclude={"models"})
    return document | {_WEIGHTS: [model.statistics.weights_sha256 for model in null.models]}


def null_of(row: Row) -> null_set.NullSet:
    """What the row says of its null: without its models."""
    facts = {name: value for name, value in row.facts.items() if name != _WEIGHTS}
    return _ADAPTER.validate_python({**facts, "models": []})


Checkpoints = Mapping[str, Checkpoint]
"""Of an order, by their columns."""


def kept(
    unit: UnitOfWork, order: Order, checkpoints: Checkpoints, labelled: Dataset
) -> dict[str, object] | None:
    """What the job of a scan keeps of its null. Raises InvalidInput, NotFound."""
    if (row := chosen(unit, order, checkpoints, labelled)) is None:
        return None
    by: null_set.Chosen = "by_auto" if order.null == AUTO else "by_name"
    return {"id": row.id, "name": row.name, "sha256": row.facts["sha256"], "chosen": by}


def chosen(unit: UnitOfWork, order: Order, checkpoints: Checkpoints, labelled: Dataset) -> Row | None:
    """The null that the order's scan is judged by; `vocabulary.null_set.Chosen` says which `auto` takes.

    Raises NotFound, InvalidInput (`null_does_not_fit`, `null_holds_the_suspect`).
    """
    assert order.scan is not None, "the order is a scan"
    if order.null == NONE:
        return None
    if order.null == AUTO:
        best_first = sorted(
            unit.nulls.all(), key=lambda row: (row.signing_key_sha256 is None, -row.num_models, row.id)
        )
        # Nobody but the customer knows whether a model is a fine-tune of some base: such a null is named.
        of_any = (row for row in best_first if row.facts["fine_tunes_of"] is None)
        return next((row for row in of_any if not any(_refusals(row, order, checkpoints, labelled))), None)
    with naming(POINTER):
        row = unit.nulls.named(order.null)
        for refusal in _refusals(row, order, checkpoints, labelled):
            raise refusal
    return row


def _refusals(
    row: Row, order: Order, checkpoints: Checkpoints, labelled: Dataset
) -> Iterator[OptionsRejected]:
    holds = checkpoints[SUSPECT].weights_sha256 in row.facts[_WEIGHTS]
    return null_set.refusals(null_of(row), _measured(order, checkpoints, labelled), holds_suspect=holds)


def _measured(order: Order, checkpoints: Checkpoints, labelled: Dataset) -> null_set.ScanToJudge:
    """What the scan is of, and what it is measured with."""
    assert order.scan is not None
    anchor = checkpoints.get(ANCHOR)
    return null_set.ScanToJudge(
        architecture=(checkpoints[SUSPECT].inspection or {}).get("architecture") or {},
        class_names=scanned_names(order.scan, class_names(labelled)),
        images_sha256=str((labelled.summary or {}).get("sha256")),
        options=order.scan,
        seed=order.seed,
        anchor_sha256=None if anchor is None else anchor.weights_sha256,
    )
